# ImageNet-1K with labels, cropped and flipped and nothing else.
_base_ = 'imagenet_finetune.py'

train_dataloader = dict(
    batch_size=2048,
    dataset=dict(
        pipeline=[
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=224,
                backend='pillow',
                interpolation='bicubic',
            ),
            {{_base_.random_flip}},
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
