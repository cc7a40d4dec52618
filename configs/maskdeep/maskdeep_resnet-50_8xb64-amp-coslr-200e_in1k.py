_base_ = 'maskdeep_resnet-50_16xb256-amp-coslr-200e_in1k.py'

# A small batch: the rate of LARS scales with it.
# peak lr = 0.3 * 8 * 64 / 256 = 0.6
train_dataloader = dict(batch_size=64)
