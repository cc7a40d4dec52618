_base_ = 'default.py'
default_scope = 'mmseg'  # its modules name their defaults without a scope
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, save_best='mIoU')
)
log_processor = dict(by_epoch=False)
