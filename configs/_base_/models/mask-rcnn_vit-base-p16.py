_base_ = 'mask-rcnn_r50_fpn.py'

# ViTDet: windows of 14 with four global blocks, decomposed relative positions, a simple feature
# pyramid, and LayerNorm over channels in the heads.
norm_cfg = dict(type='mmpretrain.LN2d', eps=1e-6)
model = dict(
    data_preprocessor=dict(pad_size_divisor=1024),  # the mean colour up to 1024 x 1024
    backbone=dict(
        _delete_=True,
        type='mmmask.WindowVisionTransformer',
        arch='base',
        img_size=1024,
        patch_size=16,
        window_size=14,
        drop_path_rate=0.1,
    ),
    neck=dict(_delete_=True, type='mmmask.SimpleFeaturePyramid', in_channels=768),
    rpn_head=dict(num_convs=2),
    roi_head=dict(bbox_head=dict(norm_cfg=norm_cfg), mask_head=dict(norm_cfg=norm_cfg)),
)
