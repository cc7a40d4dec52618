_base_ = '../imagenet/vit-large-p16_finetune_8xb128-amp-coslr-50e_in1k.py'
