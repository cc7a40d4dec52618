_base_ = [
    '../_base_/models/cmae-mao_vit-base-p16.py',
    '../_base_/datasets/tiny_imagenet_two_views.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# Crops of the 64 px enlarged to 224.
crop = dict(_base_.crop, scale=224)
two_views = dict(_base_.two_views, transforms=[[crop, *_base_.mild], [crop, *_base_.coloured]])
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    dataset=dict(pipeline=[two_views, dict(type='mmpretrain.PackInputs')]),
)
labelled_val = dict(
    _base_.labelled_val,
    pipeline=[
        dict(type='mmpretrain.Resize', scale=(224, 224), backend='pillow', interpolation='bicubic'),
        dict(type='mmpretrain.PackInputs'),
    ],
)
default_hooks = dict(checkpoint=dict(interval=10))
# Boxes are found after epochs 60, 80, ... 280 and used from epoch 61 on.
custom_hooks = [
    dict(
        type='mmmask.RefreshCropsHook',
        heat_map='cls_attn',
        threshold=0.3,
        warmup=60,
        interval=20,
    ),
    dict(type='mmmask.MomentumUpdateHook'),
    dict(type='mmmask.NonFiniteLossHook'),
    dict(type='mmmask.ReconstructionHook', interval=50, dataset=labelled_val),
]
# peak lr = 1e-3 * 64 / 256 = 2.5e-4
optim_wrapper = dict(optimizer=dict(lr=1e-3))
