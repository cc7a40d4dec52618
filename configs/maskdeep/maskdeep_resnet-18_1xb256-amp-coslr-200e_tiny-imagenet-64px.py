_base_ = [
    '../_base_/models/maskdeep_resnet-18.py',
    '../_base_/datasets/tiny_imagenet_mim.py',
    '../_base_/schedules/lars_coslr.py',
    '../_base_/runtime/momentum_targets.py',
]

# Views are made on the device, by the data preprocessor.
train_dataloader = dict(dataset=dict(pipeline=[dict(type='mmpretrain.PackInputs')]))
# All steps (M4): two online views, and two more as targets.
model = dict(
    data_preprocessor=dict(
        views=[
            _base_.view1,
            _base_.view2,
            _base_.view1,
            _base_.view2,
        ]
    )
)
# Labels are used to monitor the run, never to train.
custom_hooks = [
    dict(type='mmmask.NonFiniteLossHook'),
    dict(type='mmmask.ChannelsLastHook'),
    dict(
        type='mmmask.OnlineKNNHook',
        interval=20,
        bank=_base_.labelled_train,
        query=_base_.labelled_val,
    ),
]
# peak lr = 0.3 * 256 / 256 = 0.3
