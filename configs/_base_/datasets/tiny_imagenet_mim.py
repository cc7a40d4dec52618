# Tiny ImageNet at its own 64 px: train/<class>/*.JPEG and val/<class>/*.JPEG in a folder or a zip.
source = 'data/tiny-imagenet.zip'
plain_pipeline = [
    dict(type='mmpretrain.Resize', scale=(64, 64), backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.PackInputs'),
]
train_dataloader = dict(
    batch_size=256,
    num_workers=2,
    drop_last=True,
    sampler=dict(type='mmmask.ResumableSampler', shuffle=True),
    dataset=dict(
        type='mmmask.ImageFolder',
        source=source,
        prefix='train',
        pipeline=[
            dict(
                type='mmmask.RandomResizedCrop',
                scale=64,
                crop_ratio_range=(0.2, 1.0),
                flip_prob=0.5,
            ),
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
# Labels are used to monitor the run, never to train.
labelled_train = dict(
    type='mmmask.ImageFolder',
    source=source,
    prefix='train',
    with_label=True,
    pipeline=plain_pipeline,
)
labelled_val = dict(labelled_train, prefix='val')
