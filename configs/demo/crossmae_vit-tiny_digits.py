_base_ = 'mae_vit-tiny_digits.py'

model = dict(
    type='mmmask.CrossMAE',
    predict_ratio=0.25,
    backbone=dict(out_indices=[0, 1, 2, 3, 4, 5], final_norm=False),
    neck=dict(type='mmmask.CrossAttentionDecoder', depth=3),
)
