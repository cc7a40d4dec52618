_base_ = 'localmim_vit-base-p16_8xb256-amp-coslr-100e_in1k.py'

# The outputs of blocks 2, 4, 22 and 24 are decoded.
model = dict(
    backbone=dict(arch='large', out_indices=[1, 3, 21, 23]),
    target_generator=dict(num_bins=18, bias=True),
)
# peak lr = 1.5e-4 * (8 GPUs * 128 * 4 accumulated) / 256 = 2.4e-3
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=1.5e-4), accumulative_counts=4)
param_scheduler = dict(warmup_epochs=40)
train_cfg = dict(max_epochs=800)
default_hooks = dict(checkpoint=dict(interval=10))
