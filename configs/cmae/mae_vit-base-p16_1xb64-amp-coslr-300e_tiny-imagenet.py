_base_ = 'cmae-mao-plain-crops_vit-base-p16_1xb64-amp-coslr-300e_tiny-imagenet.py'

# The baseline under the same recipe: MAE's decoder, reconstruction alone.
model = dict(neck=dict(embed_dims=512, depth=8), contrast_weight=0.0, position_weight=0.0)
custom_hooks = _base_.custom_hooks[1:]  # without MomentumUpdateHook
