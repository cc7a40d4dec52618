# Images of any number of channels and any range in the folder or .zip file DATA. Pixels become
# float32 in 0 to 255, without rounding.
train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    drop_last=True,
    sampler=dict(type='mmmask.ResumableSampler', shuffle=True),
    dataset=dict(
        type='mmmask.ImageFolder',
        source='{{$DATA:data/images}}',
        dtype='float32',
        pipeline=[
            dict(
                type='mmmask.RandomResizedCrop',
                scale=224,
                crop_ratio_range=(0.2, 1.0),
                flip_prob=0.5,
            ),
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
