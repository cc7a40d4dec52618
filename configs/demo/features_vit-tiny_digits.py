_base_ = 'mae_vit-tiny_digits.py'

# Features of an untrained network, because the demo needs no connection. With a connection,
# name='resnet18.a1_in1k' and weights='pretrained' are those of a trained one.
model = dict(
    target_generator=dict(
        _delete_=True, type='mmmask.FeatureTarget', name='resnet18', layers=2, weights='random'
    ),
)
