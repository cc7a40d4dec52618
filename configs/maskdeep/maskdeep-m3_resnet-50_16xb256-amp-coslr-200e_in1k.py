_base_ = 'maskdeep_resnet-50_16xb256-amp-coslr-200e_in1k.py'

# Groups: four of them share one pass of the encoder. The other view is the only target.
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[{{_base_.view1}}, {{_base_.view2}}],
            ),
            dict(type='mmpretrain.PackInputs'),
        ]
    )
)
