_base_ = '../mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'

# The recipe of MAE with other masks.
model = dict(
    type='mmmask.EvolvedMIM',
    masking=dict(type='mmmask.EvolvedHierarchyMask', final_nodes=10, exponent=0.5),
    # 1 - 4e-5 * 4096 / 1024: the released rate of evolved part masking, scaled with the batch, so
    # that the copy's half-life stays near 14 epochs.
    parser=dict(type='mmmask.EncoderParser', momentum=0.99984),
)
default_hooks = dict(
    momentum=dict(type='mmmask.MomentumUpdateHook'), progress=dict(type='mmmask.ProgressHook')
)
