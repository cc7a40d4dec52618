_base_ = [
    '../_base_/models/spark_resnet-50.py',
    '../_base_/datasets/imagenet_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# peak lr = 2e-4 * (8 GPUs * 512) / 256 = 3.2e-3
train_dataloader = dict(
    batch_size=512,
    dataset=dict(
        pipeline=[
            dict(
                type='mmmask.RandomResizedCrop',
                scale=224,
                crop_ratio_range=(0.67, 1.0),
                flip_prob=0.5,
            ),
            dict(type='mmpretrain.PackInputs'),
        ]
    ),
)
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True,
        type='mmpretrain.Lamb',
        lr=2e-4,
        betas=(0.9, 0.95),
        weight_decay=0.04,
        max_grad_norm=5.0,
    )
)
param_scheduler = [
    # The rate ends at a thousandth of its peak.
    dict(
        type='mmmask.WarmupCosineLR', warmup_epochs=40, eta_min=3.2e-6, convert_to_iter_based=True
    ),
    # The weight decay rises to 0.2.
    dict(
        type='CosineAnnealingParamScheduler',
        param_name='weight_decay',
        eta_min_ratio=5.0,
        end=1600,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=1600)
custom_hooks = [dict(type='mmmask.NonFiniteLossHook'), dict(type='mmmask.ChannelsLastHook')]
