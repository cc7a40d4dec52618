_base_ = [
    '../../_base_/models/resnet-50_linear.py',
    '../../_base_/datasets/imagenet_linear.py',
    '../../_base_/schedules/linear_lars.py',
    '../../_base_/runtime/default.py',
]
default_scope = 'mmpretrain'

# SimSiam's linear probe, which has neither warm-up nor a norm before the linear layer.
# lr = 0.1 * (8 GPUs * 512) / 256 = 1.6
train_dataloader = dict(batch_size=512)
model = dict(
    neck=dict(_delete_=True, type='mmpretrain.GlobalAveragePooling'),
    head=dict(init_cfg=dict(_delete_=True, type='Normal', layer='Linear', std=0.01)),
)
param_scheduler = dict(warmup_epochs=0)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))
