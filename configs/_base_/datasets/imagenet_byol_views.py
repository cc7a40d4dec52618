# The two views of BYOL: the first is always blurred, the second seldom and sometimes solarised.
_base_ = ['imagenet_mim.py', 'view_transforms.py']

crop_and_colour = [
    dict(type='mmpretrain.RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic'),
    *_base_.coloured,
]
view1 = [*crop_and_colour, dict(_base_.blur, prob=1.0)]
view2 = [
    *crop_and_colour,
    dict(_base_.blur, prob=0.1),
    dict(type='mmpretrain.Solarize', thr=128, prob=0.2),
]
two_views = dict(type='mmpretrain.MultiView', num_views=[1, 1], transforms=[view1, view2])
train_dataloader = dict(dataset=dict(pipeline=[two_views, dict(type='mmpretrain.PackInputs')]))
