_base_ = 'maskdeep_resnet-50_16xb256-amp-coslr-200e_in1k.py'

# BYOL's rate for 100 epochs
# peak lr = 0.45 * 16 * 256 / 256 = 7.2
optim_wrapper = dict(optimizer=dict(lr=0.45))
train_cfg = dict(max_epochs=100)
