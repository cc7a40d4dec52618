_base_ = ['../_base_/models/localmim_swin-base.py', '../_base_/runtime/tiny_imagenet.py']

# Swin-T on patches of 2 px with window 4: 16 units of 16 px, of which 3 are visible at 0.75
# (int(0.75 * 16) + 1 = 13 are hidden); 0.7 leaves 4, which are 25 % as in a ViT. The maps have 16,
# 8, 4 and 4 tokens a side.
model = dict(
    backbone=dict(arch='tiny', img_size=64, patch_size=2, window_size=4),
    masking=dict(ratio=0.7),
    target_generator=dict(cell_sizes=(4, 8, 16, 16)),
)

# peak lr = 1e-3 * 256 / 256 = 1e-3 on one GPU: a small model on small images needs more than 1e-4
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), paramwise_cfg=dict(no_decay=('position_bias', 'token'))
)
