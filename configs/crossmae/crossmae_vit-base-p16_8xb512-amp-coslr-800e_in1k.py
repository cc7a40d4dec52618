_base_ = [
    '../_base_/models/crossmae_vit-base-p16.py',
    '../_base_/datasets/imagenet_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# peak lr = 1.5e-4 * (8 GPUs * 512) / 256 = 2.4e-3
train_dataloader = dict(batch_size=512)
train_cfg = dict(max_epochs=800)
