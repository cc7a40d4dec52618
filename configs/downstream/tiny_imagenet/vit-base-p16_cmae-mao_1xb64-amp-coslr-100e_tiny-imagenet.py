_base_ = '../imagenet/vit-base-p16_finetune_8xb128-amp-coslr-100e_in1k.py'

# One recipe for the CMAE of Mao et al. and its MAE baseline. Images are enlarged to 224 px.
# lr = 1e-3 * 64 / 256 = 2.5e-4
source = 'data/tiny-imagenet.zip'
train_dataloader = dict(batch_size=64, dataset=dict(source=source))
val_dataloader = dict(dataset=dict(source=source))
test_dataloader = val_dataloader
classes = dict(num_classes=200)
model = dict(
    data_preprocessor=classes,
    head=classes,
    train_cfg=None,  # neither mixup nor cutmix
)
optim_wrapper = dict(optimizer=dict(lr=2.5e-4), paramwise_cfg=dict(layer_decay_rate=0.75))
