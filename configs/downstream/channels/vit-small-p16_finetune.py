_base_ = ['../folder/vit-small-p16_finetune.py', '../../_base_/datasets/channels_stated.py']

# Fine-tuning on images of any number of channels and any range. RandAugment and the colours that
# RandomErasing fills in are for photographs.
train_pipeline = [
    dict(type='mmmask.RandomResizedCrop', scale=224, flip_prob=0.5),
    dict(type='mmmask.IntensityJitter'),
    dict(type='mmpretrain.PackInputs'),
]
model = dict(data_preprocessor=_base_.preprocessing, backbone=dict(in_channels=_base_.channels))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **_base_.stated))
val_dataloader = dict(dataset=dict(pipeline=_base_.plain_pipeline, **_base_.stated))
test_dataloader = val_dataloader
