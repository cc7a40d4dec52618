_base_ = 'swin-base_localmim-pixel-400e_8xb128-amp-coslr-100e_in1k.py'

# From 100 epochs of LocalMIM, pixels or HOG. Only the rate is published: batch 1024 and the rest
# are those of the other Swin-B recipes.
optim_wrapper = dict(optimizer=dict(lr=5e-3))
