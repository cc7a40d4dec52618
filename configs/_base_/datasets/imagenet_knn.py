# ImageNet-1K with labels: the validation images are classified by their neighbours in training.
pipeline = [
    dict(
        type='mmpretrain.ResizeEdge',
        scale=256,
        edge='short',
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='mmpretrain.CenterCrop', crop_size=224),
    dict(type='mmpretrain.PackInputs'),
]
test_dataloader = dict(
    batch_size=128,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmmask.ImageFolder', source='data/imagenet/val', with_label=True, pipeline=pipeline
    ),
)
test_cfg = dict(
    type='mmmask.KNNTestLoop',
    bank=dict(
        type='mmmask.ImageFolder', source='data/imagenet/train', with_label=True, pipeline=pipeline
    ),
    k=(20, 200),
    temperature=0.07,
)
test_evaluator = []  # the loop measures
