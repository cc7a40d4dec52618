_base_ = 'swin-large_knn.py'

test_cfg = dict(_delete_=True, type='mmmask.LinearProbeTestLoop', bank=_base_.test_cfg.bank)
