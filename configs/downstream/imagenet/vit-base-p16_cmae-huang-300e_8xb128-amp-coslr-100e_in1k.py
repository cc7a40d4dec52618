_base_ = 'vit-base-p16_finetune_8xb128-amp-coslr-100e_in1k.py'

# From 300 epochs of the CMAE of Huang et al.: MAE's recipe. lr = 5e-4 * (8 GPUs * 128) / 256 = 2e-3
