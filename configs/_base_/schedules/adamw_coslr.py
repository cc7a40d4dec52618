# The learning rate is a base rate per 256 images. The launcher multiplies it by
# batch per GPU * GPUs * accumulation / 256 and prints the result.
auto_scale_lr = dict(base_batch_size=256)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmmask.LayerDecayOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=1.5e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.05, fused=True
    ),
)
# The cosine ends at train_cfg.max_epochs.
param_scheduler = dict(
    type='mmmask.WarmupCosineLR', warmup_epochs=40, eta_min=0.0, convert_to_iter_based=True
)
train_cfg = dict(type='mmmask.ResumableTrainLoop', max_epochs=300)
