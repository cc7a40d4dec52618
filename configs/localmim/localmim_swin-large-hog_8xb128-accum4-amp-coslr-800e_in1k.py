_base_ = 'localmim_swin-base-hog_8xb256-amp-coslr-100e_in1k.py'

# A window of 14 is the whole map of stage 3; stage 4 has 7 tokens a side.
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
    ),
)
# peak lr = 1e-4 * (8 GPUs * 128 * 4 accumulated) / 256 = 1.6e-3
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(accumulative_counts=4)
param_scheduler = dict(warmup_epochs=40)
train_cfg = dict(max_epochs=800)
default_hooks = dict(checkpoint=dict(interval=10))
