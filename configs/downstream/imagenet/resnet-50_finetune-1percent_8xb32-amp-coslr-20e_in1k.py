_base_ = [
    '../../_base_/models/resnet-50_classifier.py',
    '../../_base_/datasets/imagenet_linear.py',
    '../../_base_/schedules/linear_lars.py',
    '../../_base_/runtime/default.py',
]
default_scope = 'mmpretrain'

# SwAV's recipe, rates as recalled: 0.02 for the backbone and 5 for the new layer at batch 256.
# The published list: --cfg-options train_dataloader.dataset.subset=1percent.txt
train_dataloader = dict(batch_size=32, dataset=dict(subset=0.01))
model = dict(
    head=dict(
        loss=dict(_delete_=True, type='mmpretrain.CrossEntropyLoss'),
        init_cfg=dict(type='Normal', layer='Linear', std=0.01),
    ),
    train_cfg=None,  # neither mixup nor cutmix
)
auto_scale_lr = None
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0),
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=250))),
)
param_scheduler = dict(warmup_epochs=0)
train_cfg = dict(max_epochs=20)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))
