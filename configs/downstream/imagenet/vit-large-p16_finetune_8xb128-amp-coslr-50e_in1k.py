_base_ = 'vit-base-p16_finetune_8xb128-amp-coslr-100e_in1k.py'

# MAE's recipe.
model = dict(backbone=dict(arch='large', drop_path_rate=0.2), head=dict(in_channels=1024))
optim_wrapper = dict(optimizer=dict(lr=4e-3), paramwise_cfg=dict(layer_decay_rate=0.75))
train_cfg = dict(max_epochs=50)
