# MAE's linear probe, with a base rate per 256 images, see adamw_coslr.py.
auto_scale_lr = dict(base_batch_size=256)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='mmmask.LARS', lr=0.1, momentum=0.9, weight_decay=0.0),
)
param_scheduler = dict(
    type='mmmask.WarmupCosineLR', warmup_epochs=10, eta_min=0.0, convert_to_iter_based=True
)
train_cfg = dict(type='mmmask.ResumableTrainLoop', max_epochs=90, val_interval=1)
val_cfg = dict()
test_cfg = dict()
