_base_ = '../mae/mae_vit-tiny-p8_1xb256-amp-coslr-200e_tiny-imagenet-64px.py'

model = dict(
    type='mmmask.EvolvedMIM',
    masking=dict(type='mmmask.EvolvedHierarchyMask', final_nodes=6, exponent=0.5),
    # A half-life of 14 of 300 epochs, as in the long runs, is 900 of 19,400 steps here.
    parser=dict(type='mmmask.EncoderParser', momentum=0.9992),
)
default_hooks = dict(
    momentum=dict(type='mmmask.MomentumUpdateHook'),
    progress=dict(type='mmmask.ProgressHook'),
    evolution=dict(type='mmmask.EvolutionHook', interval=50, dataset=_base_.labelled_val),
)
