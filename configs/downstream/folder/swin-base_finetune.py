_base_ = '../imagenet/swin-base_localmim-100e_8xb128-amp-coslr-100e_in1k.py'
