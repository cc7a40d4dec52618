_base_ = [
    '../../_base_/models/vit-base-p16_classifier.py',
    '../../_base_/datasets/fine_grained.py',
    '../../_base_/schedules/finetune_adamw.py',
    '../../_base_/runtime/default.py',
]
default_scope = 'mmpretrain'

# FGVC-Aircraft 2013b, the 100 variants
# MAE's fine-tuning without mixup, cutmix and erasing; lr = 2e-3 * (8 GPUs * 32) / 1024 = 5e-4
images = dict(type='mmpretrain.FGVCAircraft', data_root='data/fgvc-aircraft-2013b')
train_dataloader = dict(dataset=dict(split='trainval', **images))
val_dataloader = dict(dataset=dict(split='test', **images))
test_dataloader = val_dataloader
model = dict(data_preprocessor=dict(num_classes=100), head=dict(num_classes=100), train_cfg=None)
optim_wrapper = dict(
    optimizer=dict(lr=5e-4),
    paramwise_cfg=dict(layer_decay_rate=0.65, no_decay=('pos_embed', 'cls_token')),
)
param_scheduler = dict(warmup_epochs=5, eta_min=1e-6)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))
