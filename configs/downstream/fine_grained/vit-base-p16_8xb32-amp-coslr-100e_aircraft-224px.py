_base_ = 'vit-base-p16_8xb32-amp-coslr-100e_cub200-224px.py'

# FGVC-Aircraft 2013b, the 100 variants
images = dict(type='mmpretrain.FGVCAircraft', data_root='data/fgvc-aircraft-2013b')
train_dataloader = dict(dataset=dict(images, split='trainval'))
val_dataloader = dict(dataset=images)
test_dataloader = val_dataloader
classes = dict(num_classes=100)
model = dict(data_preprocessor=classes, head=classes)
