# Two windows of one crop of each digit: one at the corner, one shifted by up to 7 px and with
# another brightness.
_base_ = 'digits_mim.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(_base_.crop, scale=72),
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[
                    [dict(type='mmmask.ShiftedCrop', size=64)],
                    [
                        dict(type='mmmask.ShiftedCrop', size=64, max_shift=7),
                        _base_.brightness,
                        _base_.blur,
                    ],
                ],
            ),
            dict(type='mmpretrain.PackInputs'),
        ]
    )
)
