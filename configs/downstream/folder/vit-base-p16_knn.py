_base_ = [
    '../../_base_/models/vit-base-p16_frozen.py',
    '../../_base_/runtime/classification.py',
]

# Images of val/<class>/* are classified by their neighbours in train/<class>/*, both in the folder
# or .zip file DATA, by default ImageNet-1K.
images = dict(
    type='mmmask.ImageFolder',
    source='{{$DATA:data/imagenet}}',
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
)
test_dataloader = dict(
    batch_size=128,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(images, prefix='val'),
)
test_cfg = dict(
    type='mmmask.KNNTestLoop', bank=dict(images, prefix='train'), k=(20, 200), temperature=0.07
)
test_evaluator = []  # the loop computes the metrics
