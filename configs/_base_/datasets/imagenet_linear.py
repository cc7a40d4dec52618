# Images with labels, only cropped and flipped.
_base_ = 'imagenet_finetune.py'

crop = dict(
    type='mmpretrain.RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic'
)
train_dataloader = dict(
    batch_size=2048,
    dataset=dict(pipeline=[crop, _base_.random_flip, dict(type='mmpretrain.PackInputs')]),
)
