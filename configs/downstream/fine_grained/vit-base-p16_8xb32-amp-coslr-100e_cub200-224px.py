_base_ = [
    '../../_base_/models/vit-base-p16_classifier.py',
    '../../_base_/datasets/fine_grained.py',
    '../../_base_/schedules/finetune_adamw.py',
    '../../_base_/runtime/default.py',
]
default_scope = 'mmpretrain'

# CUB-200-2011: images/, images.txt, image_class_labels.txt, train_test_split.txt
# MAE's fine-tuning without mixup, cutmix and erasing; lr = 2e-3 * (8 GPUs * 32) / 1024 = 5e-4
images = dict(type='mmpretrain.CUB', data_root='data/CUB_200_2011')
train_dataloader = dict(dataset=dict(split='train', **images))
val_dataloader = dict(dataset=dict(split='test', **images))
test_dataloader = val_dataloader
model = dict(data_preprocessor=dict(num_classes=200), head=dict(num_classes=200), train_cfg=None)
optim_wrapper = dict(
    optimizer=dict(lr=5e-4),
    paramwise_cfg=dict(layer_decay_rate=0.65, no_decay=('pos_embed', 'cls_token')),
)
param_scheduler = dict(warmup_epochs=5, eta_min=1e-6)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))
