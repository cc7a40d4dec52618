# Two views of each image at its own 64 px, one mild and one coloured.
_base_ = ['tiny_imagenet_mim.py', 'view_transforms.py']

crop = dict(
    type='mmmask.ContrastiveCrop',
    scale=64,
    crop_ratio_range=(0.2, 1.0),
    backend='pillow',
    interpolation='bicubic',
)
two_views = dict(
    type='mmpretrain.MultiView',
    num_views=[1, 1],
    transforms=[[crop, *_base_.mild], [crop, *_base_.coloured]],
)
train_dataloader = dict(dataset=dict(pipeline=[two_views, dict(type='mmpretrain.PackInputs')]))
