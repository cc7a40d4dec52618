default_scope = 'mmmask'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='mmmask.DurableCheckpointHook', interval=1, max_keep_ckpts=3),
    preemption=dict(type='mmmask.PreemptionHook'),
    collapse=dict(type='mmmask.CollapseHook', interval=500, alarm_below=0.01),
    dead_masks=dict(type='mmmask.DeadMaskHook', interval=500),
    mask_statistics=dict(type='mmmask.MaskStatisticsHook', interval=50),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
custom_hooks = [dict(type='mmmask.NonFiniteLossHook')]

visualizer = dict(
    type='mmmask.Visualizer',
    vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
# Every process samples its own masks and crops.
randomness = dict(seed=0, diff_rank_seed=True)
log_level = 'INFO'
load_from = None
resume = False
