_base_ = 'cmae-huang_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'

train_cfg = dict(max_epochs=1600)
