_base_ = 'swin-base_knn_in1k.py'

# The windows of LocalMIM's pre-training.
model = dict(
    backbone=dict(
        arch='large',
        stage_cfgs=[
            dict(
                window_size=window_size,
                block_cfgs=dict(norm_cfg=dict(type='LN', eps=1e-6)),
                downsample_cfg=dict(norm_cfg=dict(type='LN', eps=1e-6)),
            )
            for window_size in (14, 14, 14, 7)
        ],
    )
)
