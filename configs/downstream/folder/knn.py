_base_ = 'vit-base-p16_knn.py'

# The k-NN test of the backbone in any checkpoint of a ViT, Swin or ResNet: --pretrained CHECKPOINT.
# Network and image size follow from it.
own_data = dict(task='features')
