_base_ = 'resnet-50_finetune-10percent_8xb32-amp-coslr-20e_in1k.py'

# Rates from memory: 0.02 for the backbone and 5 for the new layer at batch 256. The published list
# of images: --cfg-options train_dataloader.dataset.subset=1percent.txt
train_dataloader = dict(dataset=dict(subset=0.01))
optim_wrapper = dict(
    optimizer=dict(lr=0.02), paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=250)))
)
