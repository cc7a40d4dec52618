_base_ = 'mae_vit-tiny_digits.py'

# Masks change from single patches to 6 parts of the digit, which the model itself finds.
model = dict(
    type='mmmask.EvolvedMIM',
    masking=dict(type='mmmask.EvolvedHierarchyMask', final_nodes=6),
    # A half-life of one epoch in 20: 31 steps.
    parser=dict(type='mmmask.EncoderParser', momentum=0.98),
)
default_hooks = dict(
    momentum=dict(type='mmmask.MomentumUpdateHook'),
    progress=dict(type='mmmask.ProgressHook'),
    mask_statistics=dict(interval=10),
    evolution=dict(type='mmmask.EvolutionHook', interval=5, dataset=_base_.labelled_val),
)
