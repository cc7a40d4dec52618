_base_ = 'mae_vit-tiny_tiny-imagenet.py'

model = dict(
    type='mmmask.EvolvedMIM',
    masking=dict(type='mmmask.EvolvedHierarchyMask', final_nodes=6),
    # A half-life of one epoch in 12: 78 steps.
    parser=dict(type='mmmask.EncoderParser', momentum=0.991),
)
default_hooks = dict(
    momentum=dict(type='mmmask.MomentumUpdateHook'),
    progress=dict(type='mmmask.ProgressHook'),
    mask_statistics=dict(interval=10),
    evolution=dict(type='mmmask.EvolutionHook', interval=6, dataset=_base_.labelled_val),
)
