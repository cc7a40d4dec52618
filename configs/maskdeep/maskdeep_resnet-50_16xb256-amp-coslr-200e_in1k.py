_base_ = [
    '../_base_/models/maskdeep_resnet-50.py',
    '../_base_/datasets/imagenet_mim.py',
    '../_base_/datasets/view_transforms.py',
    '../_base_/schedules/lars_coslr.py',
    '../_base_/runtime/momentum_targets.py',
]

# The two views of BYOL: the first is always blurred, the second seldom and sometimes solarised.
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
# All steps (M4): two online views, and two more as targets.
four_views = dict(
    type='mmpretrain.MultiView', num_views=[1, 1, 1, 1], transforms=[view1, view2, view1, view2]
)
train_dataloader = dict(dataset=dict(pipeline=[four_views, dict(type='mmpretrain.PackInputs')]))
# peak lr = 0.3 * 16 * 256 / 256 = 4.8
