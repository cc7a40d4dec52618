_base_ = '../imagenet/vit-base-p16_linear_8xb2048-amp-coslr-90e_in1k.py'
