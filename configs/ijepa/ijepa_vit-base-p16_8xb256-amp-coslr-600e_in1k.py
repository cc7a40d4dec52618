_base_ = [
    '../_base_/models/ijepa_vit-base-p16.py',
    '../_base_/datasets/imagenet_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# peak lr = 1.25e-4 * (8 GPUs * 256) / 256 = 1e-3
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmmask.RandomResizedCrop', scale=224, crop_ratio_range=(0.3, 1.0)),
            dict(type='mmpretrain.PackInputs'),
        ]
    ),
)
optim_wrapper = dict(optimizer=dict(lr=1.25e-4, betas=(0.9, 0.999), weight_decay=0.04))
param_scheduler = [
    dict(type='mmmask.WarmupCosineLR', warmup_epochs=40, eta_min=1e-6, convert_to_iter_based=True),
    # The weight decay rises to 0.4.
    dict(
        type='CosineAnnealingParamScheduler',
        param_name='weight_decay',
        eta_min_ratio=10.0,
        end=600,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=600)
custom_hooks = [dict(type='mmmask.MomentumUpdateHook'), dict(type='mmmask.NonFiniteLossHook')]
