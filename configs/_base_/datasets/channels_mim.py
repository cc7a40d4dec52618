# Images of any number of channels and any range in the folder or .zip file DATA. Pixels become
# float32 in 0 to 255, without rounding.
_base_ = 'imagenet_mim.py'

train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    dataset=dict(source='{{$DATA:data/images}}', dtype='float32'),
)
