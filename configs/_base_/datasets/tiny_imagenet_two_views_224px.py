# Two views of each image, one mild and one coloured: crops of the 64 px enlarged to 224.
_base_ = 'tiny_imagenet_two_views.py'

crop = dict(_base_.crop, scale=224)
two_views = dict(_base_.two_views, transforms=[[crop, *_base_.mild], [crop, *_base_.coloured]])
train_dataloader = dict(dataset=dict(pipeline=[two_views, dict(type='mmpretrain.PackInputs')]))
plain_pipeline = [
    dict(type='mmpretrain.Resize', scale=(224, 224), backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.PackInputs'),
]
labelled_train = dict(pipeline=plain_pipeline)
labelled_val = dict(pipeline=plain_pipeline)
