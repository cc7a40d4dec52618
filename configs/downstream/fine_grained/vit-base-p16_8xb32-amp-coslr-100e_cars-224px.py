_base_ = 'vit-base-p16_8xb32-amp-coslr-100e_cub200-224px.py'

# Stanford Cars: car_ims/ and cars_annos.mat
images = dict(type='mmpretrain.StanfordCars', data_root='data/stanford-cars')
train_dataloader = dict(dataset=images)
val_dataloader = dict(dataset=images)
test_dataloader = val_dataloader
classes = dict(num_classes=196)
model = dict(data_preprocessor=classes, head=classes)
