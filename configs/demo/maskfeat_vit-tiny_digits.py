_base_ = 'simmim_vit-tiny_digits.py'

# Wei et al., *Masked Feature Prediction for Self-Supervised Visual Pre-Training*, CVPR 2022: HOG in
# 2 x 2 cells of each patch, 4 px here and 8 px of a patch of 16 px in the paper.
model = dict(
    masking=dict(ratio=0.375),
    neck=dict(scale=2),
    target_generator=dict(_delete_=True, type='mmmask.HOGTarget', num_bins=9, cell_sizes=4),
    head=dict(distance='squared'),
)
