_base_ = 'vit-base-p16_copydays-320px.py'

# The backbone of any checkpoint of a ViT, Swin or ResNet: --pretrained CHECKPOINT.
own_data = dict(task='retrieval')
