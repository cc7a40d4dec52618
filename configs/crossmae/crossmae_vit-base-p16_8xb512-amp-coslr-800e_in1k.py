_base_ = [
    '../_base_/models/mae_vit-base-p16.py',
    '../_base_/datasets/imagenet_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# 49 of 196 patches are visible, and 49 of the 147 hidden ones are predicted.
model = dict(
    type='mmmask.CrossMAE',
    predict_ratio=0.25,
    # Each block of the decoder norms the sum of feature maps that it reads.
    backbone=dict(out_indices=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], final_norm=False),
    neck=dict(type='mmmask.CrossAttentionDecoder', depth=12),
)

# peak lr = 1.5e-4 * (8 GPUs * 512) / 256 = 2.4e-3
train_dataloader = dict(batch_size=512)
train_cfg = dict(max_epochs=800)
