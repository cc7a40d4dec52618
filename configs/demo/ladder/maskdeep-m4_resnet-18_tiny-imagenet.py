# All steps of deep masking in a size that a laptop trains in minutes: ResNet-18 of a quarter of the
# width, crops of 32 px, ten classes.
_base_ = [
    '../../_base_/models/maskdeep_resnet-18.py',
    '../../_base_/datasets/tiny_imagenet_mim.py',
    '../../_base_/schedules/adamw_coslr.py',
    '../../_base_/runtime/momentum_targets.py',
]

view1 = dict(blur=1.0, solarize=0.0)
view2 = dict(blur=0.1, solarize=0.2)
model = dict(
    # Two online views and two more as targets.
    data_preprocessor=dict(size=32, views=[view1, view2, view1, view2]),
    backbone=dict(base_channels=16, stem_channels=16),
    # Visible: 12 of 16x16, 6 of 8x8 and 4 of 4x4 positions in each of 4 groups.
    neck=dict(embed_dims=128, num_heads=4),
    head=dict(hidden_channels=512),
)
images = list(range(5000))  # sorted by class, 500 of each
small = dict(type='mmpretrain.Resize', scale=(32, 32), backend='pillow', interpolation='bicubic')
small_pipeline = [small, dict(type='mmpretrain.PackInputs')]
# Views are made on the device, by the data preprocessor.
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(indices=images, pipeline=[dict(type='mmpretrain.PackInputs')]),
)
# Labels are used to monitor the run, never to train.
photographs_train = dict(
    type='mmmask.ImageFolder',
    source='data/tiny-imagenet.zip',
    prefix='train',
    with_label=True,
    indices=images[::2],
    pipeline=small_pipeline,
)
photographs_val = dict(
    type='mmmask.ImageFolder',
    source='data/tiny-imagenet.zip',
    prefix='val',
    with_label=True,
    indices=list(range(500)),
    pipeline=small_pipeline,
)

# peak lr = 4e-3 * 64 / 256 = 1e-3
optim_wrapper = dict(
    optimizer=dict(lr=4e-3, weight_decay=1e-4),
    paramwise_cfg=dict(no_decay=('query', 'level_embed')),
)
param_scheduler = dict(warmup_epochs=0.5)
train_cfg = dict(max_epochs=4)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=4, max_keep_ckpts=1))
custom_hooks = [
    dict(type='mmmask.NonFiniteLossHook'),
    dict(type='mmmask.ChannelsLastHook'),
    dict(type='mmmask.OnlineKNNHook', interval=4, bank=photographs_train, query=photographs_val),
]
