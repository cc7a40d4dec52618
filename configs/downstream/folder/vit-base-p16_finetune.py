_base_ = '../imagenet/vit-base-p16_finetune_8xb128-amp-coslr-100e_in1k.py'
