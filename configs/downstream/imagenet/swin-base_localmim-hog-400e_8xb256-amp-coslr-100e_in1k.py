_base_ = 'swin-base_localmim-pixel-400e_8xb128-amp-coslr-100e_in1k.py'

# From 400 epochs of LocalMIM with HOG; batch = 8 GPUs * 256 = 2048 at the same rate
train_dataloader = dict(batch_size=256)
