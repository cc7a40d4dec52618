# data2vec 2.0 with a ViT-B/16 at 224 px: 39 of 196 patches are visible in each of 16 masks.
_base_ = 'mae_vit-base-p16.py'

model = dict(
    type='mmmask.Data2Vec2',
    masking=dict(
        _delete_=True, type='mmmask.InverseBlockMask', ratio=0.8, block_size=3, surplus=0.07
    ),
    neck=dict(_delete_=True, type='mmmask.ConvDecoder', embed_dims=768, depth=6),
    target_generator=dict(
        _delete_=True,
        type='mmmask.MomentumTarget',
        momentum=0.9998,
        final_momentum=0.99999,
        num_layers=10,
    ),
    num_masks=16,
    class_weight=0.01,
)
