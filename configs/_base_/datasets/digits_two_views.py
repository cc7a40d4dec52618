# Two views of each digit, the second brighter or darker.
_base_ = 'digits_mim.py'

crop = dict(_base_.crop, type='mmmask.ContrastiveCrop')
two_views = dict(
    type='mmpretrain.MultiView', num_views=[1, 1], transforms=[[crop], [crop, _base_.brightness]]
)
train_dataloader = dict(dataset=dict(pipeline=[two_views, dict(type='mmpretrain.PackInputs')]))
