_base_ = 'cmae-mao_vit-base-p8_1xb64-amp-coslr-300e_tiny-imagenet-64px.py'

# The baseline under the same recipe: MAE's decoder, plain crops, reconstruction alone.
model = dict(neck=dict(embed_dims=512, depth=8), contrast_weight=0.0, position_weight=0.0)
# Without boxes, ContrastiveCrop is a random resized crop.
crop = dict(_base_.crop, type='mmpretrain.RandomResizedCrop')
two_views = dict(_base_.two_views, transforms=[[crop, *_base_.mild], [crop, *_base_.coloured]])
train_dataloader = dict(dataset=dict(pipeline=[two_views, dict(type='mmpretrain.PackInputs')]))
custom_hooks = _base_.custom_hooks[2:]  # neither RefreshCropsHook nor MomentumUpdateHook
