_base_ = 'default.py'
default_scope = 'mmdet'  # its modules name their defaults without a scope
default_hooks = dict(checkpoint=dict(save_best='coco/bbox_mAP'))
