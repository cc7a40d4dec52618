# Nothing is published for data of this size: absolute rates that are usual for AdamW.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmmask.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(layer_decay_rate=0.8),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = dict(
    type='mmmask.WarmupCosineLR', warmup_epochs=1, eta_min=0.0, convert_to_iter_based=True
)
train_cfg = dict(type='mmmask.ResumableTrainLoop', max_epochs=24, val_interval=1)
