_base_ = 'cmae-mao_vit-base-p16_1xb64-amp-coslr-300e_tiny-imagenet.py'

# Without boxes, ContrastiveCrop is a random resized crop.
crop = dict(_base_.crop, type='mmpretrain.RandomResizedCrop')
two_views = dict(_base_.two_views, transforms=[[crop, *_base_.mild], [crop, *_base_.coloured]])
train_dataloader = dict(dataset=dict(pipeline=[two_views, dict(type='mmpretrain.PackInputs')]))
custom_hooks = _base_.custom_hooks[1:]  # without RefreshCropsHook
