_base_ = '../imagenet/resnet-50_linear_8xb512-amp-coslr-90e_in1k.py'
