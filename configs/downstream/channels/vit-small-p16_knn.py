_base_ = ['../folder/vit-base-p16_knn.py', '../../_base_/datasets/channels_stated.py']

# k-NN on images of any number of channels and any range.
dataset = dict(pipeline=_base_.plain_pipeline, **_base_.stated)
model = dict(
    data_preprocessor=_base_.preprocessing,
    backbone=dict(arch='deit-small', in_channels=_base_.channels),
)
test_dataloader = dict(dataset=dataset)
test_cfg = dict(bank=dataset)
