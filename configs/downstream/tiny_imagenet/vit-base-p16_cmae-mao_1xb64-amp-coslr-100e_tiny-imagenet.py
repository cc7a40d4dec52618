_base_ = [
    '../../_base_/models/vit-base-p16_classifier.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/finetune_adamw.py',
    '../../_base_/runtime/default.py',
]
default_scope = 'mmpretrain'  # whose RandAugment names its parts without a scope

# The same for the CMAE of Mao et al. and its MAE baseline. Images are enlarged to 224 px.
source = 'data/tiny-imagenet.zip'
train_dataloader = dict(batch_size=64, dataset=dict(source=source, prefix='train'))
val_dataloader = dict(dataset=dict(source=source, prefix='val'))
test_dataloader = val_dataloader
model = dict(
    data_preprocessor=dict(num_classes=200),
    head=dict(num_classes=200),
    train_cfg=None,  # neither mixup nor cutmix
)
optim_wrapper = dict(
    # lr = 1e-3 * 64 / 256 = 2.5e-4
    optimizer=dict(lr=2.5e-4),
    paramwise_cfg=dict(layer_decay_rate=0.75, no_decay=('pos_embed', 'cls_token')),
)
param_scheduler = dict(warmup_epochs=5)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))
