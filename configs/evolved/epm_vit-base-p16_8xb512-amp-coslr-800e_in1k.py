_base_ = 'epm_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'

# The schedule of parts has an epoch for each epoch of the training.
model = dict(masking=dict(num_epochs=800))
train_cfg = dict(max_epochs=800)
default_hooks = dict(checkpoint=dict(interval=10))
