_base_ = 'vit-base-p16_probe.py'

# The linear probe of the backbone in any checkpoint, see knn.py.
own_data = dict(task='features')
