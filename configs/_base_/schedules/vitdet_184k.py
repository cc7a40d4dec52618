# 184,375 iterations of 64 images are 100 epochs of COCO; the rate falls after 88.9 % and 96.3 %.
# Norms and position embeddings do not decay, biases do.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='float16',  # mmcv's operators have no bf16
    loss_scale='dynamic',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.1),
    constructor='mmmask.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.7, no_decay=('pos_embed',), decay_bias=True),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=250),
    dict(type='MultiStepLR', by_epoch=False, milestones=[163_889, 177_546], gamma=0.1),
]
train_cfg = dict(type='mmmask.ResumableIterTrainLoop', max_iters=184_375, val_interval=18_438)
