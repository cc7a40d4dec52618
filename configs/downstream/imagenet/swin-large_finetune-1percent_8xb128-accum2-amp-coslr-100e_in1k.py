_base_ = 'swin-large_localmim-hog-800e_8xb128-accum2-amp-coslr-100e_in1k.py'

# The recipe for all labels on 1 % of them, of each class. To use the published list instead:
# --cfg-options train_dataloader.dataset.subset=1percent.txt
train_dataloader = dict(dataset=dict(subset=0.01))
