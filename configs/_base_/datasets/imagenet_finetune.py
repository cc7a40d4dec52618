# Images with labels: train/<class>/* and val/<class>/* in the folder or .zip file DATA, by default
# ImageNet-1K. Colours are BGR until the data preprocessor, and so are the fill values.
source = '{{$DATA:data/imagenet}}'
random_flip = dict(type='mmpretrain.RandomFlip', prob=0.5)
# rand-m9-mstd0.5-inc1
rand_augment = dict(
    type='mmpretrain.RandAugment',
    policies='timm_increasing',
    num_policies=2,
    total_level=10,
    magnitude_level=9,
    magnitude_std=0.5,
    hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),
)
random_erasing = dict(
    type='mmpretrain.RandomErasing',
    erase_prob=0.25,
    mode='rand',
    min_area_ratio=0.02,
    max_area_ratio=1 / 3,
    fill_color=[103.53, 116.28, 123.675],
    fill_std=[57.375, 57.12, 58.395],
)
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    drop_last=True,
    sampler=dict(type='mmmask.ResumableSampler', shuffle=True),
    dataset=dict(
        type='mmmask.ImageFolder',
        source=source,
        prefix='train',
        with_label=True,
        pipeline=[
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=224,
                backend='pillow',
                interpolation='bicubic',
            ),
            random_flip,
            rand_augment,
            random_erasing,
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmmask.ImageFolder',
        source=source,
        prefix='val',
        with_label=True,
        pipeline=[
            dict(
                type='mmpretrain.ResizeEdge',
                scale=256,
                edge='short',
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(type='mmpretrain.CenterCrop', crop_size=224),
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
topk = (1, 5) if int('{{$NUM_CLASSES:1000}}') > 5 else (1,)
val_evaluator = dict(type='mmpretrain.Accuracy', topk=topk)
test_evaluator = val_evaluator
