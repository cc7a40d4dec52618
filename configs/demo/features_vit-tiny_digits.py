_base_ = 'mae_vit-tiny_digits.py'

# Without a network connection there are no weights, so the features are those of an untrained
# network. weights='pretrained' takes those that timm publishes, for example of name='resnet18.a1_in1k'.
model = dict(
    target_generator=dict(
        _delete_=True, type='mmmask.FeatureTarget', name='resnet18', layers=2, weights='random'
    ),
)
