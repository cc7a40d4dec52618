_base_ = 'vit-base-p8_cmae-mao_1xb64-amp-coslr-100e_tiny-imagenet-64px.py'

# For the backbones of configs/demo/cmae-mao*_tiny-imagenet.py: 50 classes, a sixth of the images.
# lr = 6e-3 * 64 / 256 = 1.5e-3
train_dataloader = dict(num_workers=1, dataset=dict(indices=list(range(0, 25000, 6))))
val_dataloader = dict(batch_size=250, num_workers=1)
test_dataloader = val_dataloader
classes = dict(num_classes=50)
width = 128
model = dict(
    data_preprocessor=classes,
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=width,
            num_layers=6,
            num_heads=4,
            feedforward_channels=4 * width,
        ),
    ),
    head=dict(classes, in_channels=width),
)
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=4, val_interval=4)
