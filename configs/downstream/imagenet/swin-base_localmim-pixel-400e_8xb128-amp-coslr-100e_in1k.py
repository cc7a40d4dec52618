_base_ = [
    '../../_base_/models/swin-base_classifier.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/finetune_adamw.py',
    '../../_base_/runtime/classification.py',
]

# From 400 epochs of LocalMIM with pixels. batch = 8 GPUs * 128 = 1024; the rate is not scaled with
# it. Relative position tables have weight decay here, in pre-training they have none.
optim_wrapper = dict(optimizer=dict(lr=4e-3), paramwise_cfg=dict(layer_decay_rate=0.9))
param_scheduler = dict(eta_min=2.5e-7)
