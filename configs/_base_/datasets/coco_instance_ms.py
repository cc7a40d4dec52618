_base_ = 'coco_instance.py'

# The short side is sampled from 640 to 800.
resize_by_choice = dict(
    type='RandomChoiceResize',
    scales=[(1333, side) for side in range(640, 801, 32)],
    keep_ratio=True,
)
train_dataloader = dict(
    dataset=dict(pipeline=[*_base_.load, resize_by_choice, _base_.flip, _base_.pack])
)
