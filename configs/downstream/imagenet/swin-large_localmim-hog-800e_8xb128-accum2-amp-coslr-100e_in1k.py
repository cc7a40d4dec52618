_base_ = 'swin-base_localmim-pixel-400e_8xb128-amp-coslr-100e_in1k.py'

# From 800 epochs of LocalMIM; batch = 8 GPUs * 128 * 2 accumulated = 2048
model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.3,
        stage_cfgs=[
            dict(
                window_size=window_size,
                block_cfgs=dict(norm_cfg=dict(type='LN', eps=1e-6)),
                downsample_cfg=dict(norm_cfg=dict(type='LN', eps=1e-6)),
            )
            for window_size in (14, 14, 14, 7)
        ],
    ),
    neck=dict(in_channels=1536),
    head=dict(in_channels=1536),
)
optim_wrapper = dict(
    optimizer=dict(lr=2e-3), accumulative_counts=2, paramwise_cfg=dict(layer_decay_rate=0.8)
)
