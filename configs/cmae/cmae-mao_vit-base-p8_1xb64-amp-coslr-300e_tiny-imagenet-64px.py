_base_ = [
    '../_base_/models/cmae-mao_vit-base-p16.py',
    '../_base_/datasets/tiny_imagenet_two_views.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# 64 patches of 8 px, of which 16 are visible: a third of the tokens. The preset native64.
model = dict(backbone=dict(img_size=64, patch_size=8))
train_dataloader = dict(batch_size=64, num_workers=8)
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
    dict(type='mmmask.ReconstructionHook', interval=50, dataset=_base_.labelled_val),
]
# peak lr = 1e-3 * 64 / 256 = 2.5e-4
optim_wrapper = dict(optimizer=dict(lr=1e-3))
