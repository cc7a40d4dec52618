# 24,000 iterations, as MoCo is compared on VOC; batch = 8 GPUs * 2 = 16
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', by_epoch=False, milestones=[18_000, 22_000], gamma=0.1),
]
train_cfg = dict(type='mmmask.ResumableIterTrainLoop', max_iters=24_000, val_interval=4_000)
