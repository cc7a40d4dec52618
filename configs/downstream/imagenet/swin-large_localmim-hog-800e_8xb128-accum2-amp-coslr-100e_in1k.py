_base_ = 'swin-base_localmim-pixel-400e_8xb128-amp-coslr-100e_in1k.py'

# From 800 epochs of LocalMIM. batch = 8 GPUs * 128 * 2 accumulated = 2048
width = 1536
model = dict(
    backbone=dict(
        arch='large',
        # the windows of LocalMIM's pre-training
        stage_cfgs=[dict(_base_.stage, window_size=side) for side in (14, 14, 14, 7)],
        drop_path_rate=0.3,
    ),
    neck=dict(in_channels=width),
    head=dict(in_channels=width),
)
optim_wrapper = dict(
    optimizer=dict(lr=2e-3), accumulative_counts=2, paramwise_cfg=dict(layer_decay_rate=0.8)
)
