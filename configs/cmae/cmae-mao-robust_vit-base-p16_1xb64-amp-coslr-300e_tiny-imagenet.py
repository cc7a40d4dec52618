_base_ = 'cmae-mao_vit-base-p16_1xb64-amp-coslr-300e_tiny-imagenet.py'

# Meant for accuracy rather than for fidelity: positions must be predicted from content, the
# temperature is lower, pixels are standardised, and boxes are smaller.
model = dict(
    target_generator=dict(normalize=True),
    contrast_head=dict(temperature=0.2),
    position_head=dict(loss='ce', input_pe='drop_subset', smoothing=1.0),
    position_weight=0.05,
)
custom_hooks = [
    dict(
        type='mmmask.RefreshCropsHook',
        heat_map='cls_attn',
        threshold=0.5,
        warmup=60,
        interval=20,
    ),
    dict(type='mmmask.MomentumUpdateHook'),
    dict(type='mmmask.ProgressHook'),
    dict(type='mmmask.NonFiniteLossHook'),
    dict(type='mmmask.ReconstructionHook', interval=50, dataset=_base_.labelled_val),
]
