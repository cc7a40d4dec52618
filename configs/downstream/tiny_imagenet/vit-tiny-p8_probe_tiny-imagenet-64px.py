_base_ = 'vit-tiny-p8_knn_tiny-imagenet-64px.py'

test_cfg = dict(_delete_=True, type='mmmask.LinearProbeTestLoop', bank=_base_.test_cfg.bank)
