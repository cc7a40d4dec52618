_base_ = 'cmae-mao_vit-base-p16_1xb64-amp-coslr-300e_tiny-imagenet.py'

# As in the code of the closest relatives, SDMAE and ContrastiveCrop: the output of the decoder is
# contrasted by a head of two blocks and three layers, and only this head has a momentum copy.
model = dict(
    source='decoder_cls',
    target='momentum_head',
    freeze_patch_embed=True,
    projector=dict(
        _delete_=True,
        type='mmmask.ClassTokenProjector',
        hid_channels=4096,
        out_channels=768,
        num_layers=3,
        with_last_bn_affine=False,
    ),
)
custom_hooks = [
    dict(
        type='mmmask.RefreshCropsHook',
        heat_map='feat_sum',
        threshold=0.1,
        warmup=60,
        interval=20,
    ),
    dict(type='mmmask.MomentumUpdateHook'),
    dict(type='mmmask.NonFiniteLossHook'),
    dict(type='mmmask.ReconstructionHook', interval=50, dataset=_base_.labelled_val),
]
