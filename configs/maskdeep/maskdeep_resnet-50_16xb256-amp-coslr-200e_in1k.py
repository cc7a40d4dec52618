_base_ = [
    '../_base_/models/maskdeep_resnet-50.py',
    '../_base_/datasets/imagenet_byol_views.py',
    '../_base_/schedules/lars_coslr.py',
    '../_base_/runtime/momentum_targets.py',
]

# All steps (M4): two online views, and two more as targets.
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1, 1, 1],
                transforms=[
                    _base_.view1,
                    _base_.view2,
                    _base_.view1,
                    _base_.view2,
                ],
            ),
            dict(type='mmpretrain.PackInputs'),
        ]
    )
)
# peak lr = 0.3 * 16 * 256 / 256 = 4.8
