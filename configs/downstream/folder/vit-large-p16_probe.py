_base_ = 'vit-large-p16_knn.py'

test_cfg = dict(_delete_=True, type='mmmask.LinearProbeTestLoop', bank=_base_.test_cfg.bank)
