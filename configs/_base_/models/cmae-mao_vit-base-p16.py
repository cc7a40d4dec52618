# ViT-B/16 at 224 px: 196 patches, of which the same 49 are visible in both views.
_base_ = 'mae_vit-base-p16.py'

model = dict(
    type='mmmask.CMAEMao',
    neck=dict(embed_dims=128, depth=1),  # 0.4 M parameters; MAE's has 26 M
    target_generator=dict(normalize=False),
    projector=dict(
        type='mmpretrain.NonLinearNeck',
        hid_channels=4096,
        out_channels=256,
        num_layers=3,
        with_last_bn_affine=False,
        with_avg_pool=False,
    ),
    contrast_head=dict(
        type='mmmask.ContrastiveHead',
        predictor=dict(
            type='mmpretrain.NonLinearNeck',
            hid_channels=4096,
            with_last_bn_affine=False,
            with_avg_pool=False,
        ),
        temperature=1.0,
    ),
    position_head=dict(type='mmmask.PositionHead'),
)
