# Learning rates of fine-tuning are absolute: the launcher scales none without auto_scale_lr.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmmask.LayerDecayOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05, fused=True
    ),
    paramwise_cfg=dict(layer_decay_rate=0.65),
)
param_scheduler = dict(
    type='mmmask.WarmupCosineLR', warmup_epochs=20, eta_min=1e-6, convert_to_iter_based=True
)
train_cfg = dict(type='mmmask.ResumableTrainLoop', max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()
