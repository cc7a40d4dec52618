_base_ = 'maskdeep_resnet-50_16xb256-amp-coslr-200e_in1k.py'

# BYOL: nothing is masked, the last level is used, and the other view is the only target.
two_views = dict(
    type='mmpretrain.MultiView', num_views=[1, 1], transforms=[_base_.view1, _base_.view2]
)
train_dataloader = dict(dataset=dict(pipeline=[two_views, dict(type='mmpretrain.PackInputs')]))
model = dict(backbone=dict(out_indices=(3,)), masking=None, neck=dict(fusion=None))
default_hooks = dict(collapse=dict(module='target.module.projectors.0'))
