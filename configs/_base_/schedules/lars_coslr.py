# LARS with a base rate per 256 images, see adamw_coslr.py.
# Biases, norms, queries and level embeddings have neither weight decay nor an adapted rate.
auto_scale_lr = dict(base_batch_size=256)
plain = dict(decay_mult=0.0, lars_exclude=True)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='mmmask.LARS', lr=0.3, momentum=0.9, weight_decay=1e-6, eta=1e-3),
    paramwise_cfg=dict(
        custom_keys={
            'bias': plain,
            'bn': plain,
            'downsample.1': plain,  # the norm of a shortcut
            'level_embed': plain,
            'ln': plain,
            'norm': plain,
            'query': plain,
        }
    ),
)
# The cosine ends at train_cfg.max_epochs.
param_scheduler = dict(
    type='mmmask.WarmupCosineLR', warmup_epochs=10, eta_min=0.0, convert_to_iter_based=True
)
train_cfg = dict(type='mmmask.ResumableTrainLoop', max_epochs=200)
