# I-JEPA with a ViT-B/16 at 224 px: 58 of 196 patches are visible, and 4 blocks of 34 are predicted.
_base_ = 'mae_vit-base-p16.py'

model = dict(
    type='mmmask.IJEPA',
    backbone=dict(with_cls_token=False),
    masking=dict(
        _delete_=True,
        type='mmmask.TargetBlockMask',
        num_targets=4,
        scale=0.175,
        aspect_ratios=(0.75, 1.5),
    ),
    neck=dict(_delete_=True, type='mmmask.BlockPredictor', embed_dims=384, depth=6, num_heads=12),
    target_generator=dict(
        _delete_=True, type='mmmask.MomentumTarget', momentum=0.996, final_momentum=1.0
    ),
    head=dict(distance='smooth'),
)
