_base_ = 'cmae-mao_vit-tiny_tiny-imagenet.py'

# MAE under the recipe of CMAE: a large decoder, two plain random crops, reconstruction alone.
model = dict(
    neck=dict(embed_dims=64, depth=4, num_heads=4), contrast_weight=0.0, position_weight=0.0
)
# Without boxes, ContrastiveCrop is a random resized crop.
crop = dict(_base_.crop, type='mmpretrain.RandomResizedCrop')
two_views = dict(_base_.two_views, transforms=[[crop, *_base_.mild], [crop, *_base_.coloured]])
train_dataloader = dict(dataset=dict(pipeline=[two_views, dict(type='mmpretrain.PackInputs')]))
custom_hooks = _base_.custom_hooks[2:]  # neither RefreshCropsHook nor MomentumUpdateHook
