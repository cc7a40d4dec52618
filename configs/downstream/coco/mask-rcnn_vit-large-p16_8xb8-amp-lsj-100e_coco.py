_base_ = 'mask-rcnn_vit-base-p16_8xb8-amp-lsj-100e_coco.py'

model = dict(
    backbone=dict(arch='large', drop_path_rate=0.4, with_cp=True), neck=dict(in_channels=1024)
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
