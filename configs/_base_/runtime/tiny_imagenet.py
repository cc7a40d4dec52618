# Tiny ImageNet at 64 px for 200 epochs.
_base_ = ['../datasets/tiny_imagenet_mim.py', '../schedules/adamw_coslr.py', 'default.py']

param_scheduler = dict(warmup_epochs=10)
train_cfg = dict(max_epochs=200)
custom_hooks = [
    dict(type='mmmask.NonFiniteLossHook'),
    dict(
        type='mmmask.OnlineKNNHook',
        interval=10,
        bank=_base_.labelled_train,
        query=_base_.labelled_val,
    ),
    dict(type='mmmask.ReconstructionHook', interval=50, dataset=_base_.labelled_val),
]
