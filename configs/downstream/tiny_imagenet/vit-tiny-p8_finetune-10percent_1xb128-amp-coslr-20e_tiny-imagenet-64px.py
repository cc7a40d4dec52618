_base_ = '../imagenet/vit-tiny-p8_localmim_1xb128-amp-coslr-20e_tiny-imagenet-64px.py'

# A tenth of the labels of each class.
train_dataloader = dict(dataset=dict(subset=0.1))
