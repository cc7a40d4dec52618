_base_ = 'vit-base-p16_linear.py'

# MAE's linear probe of the backbone in any checkpoint, see knn.py: of the class token of a ViT, of
# the mean of the last map of others.
own_data = dict(task='linear')
