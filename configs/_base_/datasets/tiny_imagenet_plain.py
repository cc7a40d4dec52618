# Tiny ImageNet as it is: views are made on the device, by the data preprocessor.
_base_ = 'tiny_imagenet_mim.py'

train_dataloader = dict(dataset=dict(pipeline=[dict(type='mmpretrain.PackInputs')]))
