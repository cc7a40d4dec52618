_base_ = [
    '../../_base_/models/mask-rcnn_r50_fpn.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/own_data.py',
    '../../_base_/runtime/detection.py',
]

# Your own boxes, with or without masks: --data IMAGES ANNOTATIONS --pretrained CHECKPOINT.
# Backbone, pyramid, strides and image size follow from the checkpoint; files, classes and kind of
# detector from the data. Without masks it is a Faster R-CNN.
model = dict(
    neck=dict(norm_cfg=None),
    roi_head=dict(
        bbox_head=dict(type='mmdet.Shared2FCBBoxHead', norm_cfg=None),
        mask_head=dict(norm_cfg=None),
    ),
)
own_data = dict(
    task='detection',
    # for networks of the size of configs/demo
    narrow={
        'model.neck.out_channels': 64,
        'model.rpn_head.in_channels': 64,
        'model.rpn_head.feat_channels': 64,
        'model.rpn_head.anchor_generator.scales': [4],
        'model.roi_head.bbox_roi_extractor.out_channels': 64,
        'model.roi_head.bbox_head.in_channels': 64,
        'model.roi_head.bbox_head.fc_out_channels': 256,
        'model.roi_head.mask_roi_extractor.out_channels': 64,
        'model.roi_head.mask_head.in_channels': 64,
        'model.roi_head.mask_head.conv_out_channels': 64,
        'model.roi_head.mask_head.num_convs': 2,
        'model.train_cfg.rpn.sampler.num': 128,
        'model.train_cfg.rpn_proposal.nms_pre': 400,
        'model.train_cfg.rpn_proposal.max_per_img': 200,
        'model.train_cfg.rcnn.sampler.num': 64,
        'model.test_cfg.rpn.nms_pre': 400,
        'model.test_cfg.rpn.max_per_img': 200,
        'optim_wrapper.optimizer.lr': 1e-3,
    },
)
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    batch_sampler=None,
    dataset=dict(filter_cfg=dict(min_size=1)),
)
val_dataloader = dict(num_workers=2)
test_dataloader = val_dataloader
val_evaluator = dict(classwise=True)
test_evaluator = val_evaluator
