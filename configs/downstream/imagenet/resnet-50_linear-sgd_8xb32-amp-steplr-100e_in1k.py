_base_ = 'resnet-50_linear_8xb512-amp-coslr-90e_in1k.py'

# MoCo's linear probe, from memory: a very large rate at batch 256, no weight decay, two steps down.
# lr = 30 * (8 GPUs * 32) / 256 = 30
train_dataloader = dict(batch_size=32)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=30.0, momentum=0.9, weight_decay=0.0)
)
param_scheduler = dict(
    _delete_=True, type='MultiStepLR', by_epoch=True, milestones=[60, 80], gamma=0.1
)
train_cfg = dict(max_epochs=100)
