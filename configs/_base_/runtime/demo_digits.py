# Digits at 64 px in minutes on a laptop: 64 images a step, 12 epochs.
_base_ = ['../datasets/digits_mim.py', '../schedules/adamw_coslr.py', 'default.py']

train_dataloader = dict(batch_size=64, num_workers=1)
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=12)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=4))
custom_hooks = [
    dict(type='mmmask.NonFiniteLossHook'),
    dict(
        type='mmmask.OnlineKNNHook',
        interval=4,
        bank=_base_.labelled_train,
        query=_base_.labelled_val,
    ),
    dict(type='mmmask.ReconstructionHook', interval=4, dataset=_base_.labelled_val),
]
