# What the environment states about images of DATA: CHANNELS, by default 1, with values from LOW to
# HIGH, by default those of 12 bits. tools/image_statistics.py measures the range, mean and std.
channels = int('{{$CHANNELS:1}}')
stated = dict(
    channels=channels,
    dtype='float32',
    value_range=(float('{{$LOW:0}}'), float('{{$HIGH:4095}}')),
)
preprocessing = dict(mean=[127.5] * channels, std=[64.0] * channels, to_rgb=channels == 3)
plain_pipeline = [
    dict(type='mmmask.ResizeEdge', scale=256),
    dict(type='mmpretrain.CenterCrop', crop_size=224),
    dict(type='mmpretrain.PackInputs'),
]
