_base_ = '../folder/resnet-50_finetune.py'

# SwAV's recipe, its rates from memory: 0.01 for the backbone and 0.2 for the new layer at batch
# 256, not scaled with the batch. The published list of images:
# --cfg-options train_dataloader.dataset.subset=10percent.txt
train_dataloader = dict(dataset=dict(subset=0.1))
auto_scale_lr = None
optim_wrapper = dict(
    optimizer=dict(weight_decay=0.0), paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=20)))
)
train_cfg = dict(max_epochs=20)
