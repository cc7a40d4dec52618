_base_ = [
    '../_base_/models/localmim_vit-base-p16.py',
    '../_base_/datasets/channels_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# Images with CHANNELS bands, by default the 13 of Sentinel-2: TIFF or NPY in DATA. Reflectances
# from LOW to HIGH become 0 to 255, and brighter ones, such as clouds, count as HIGH.
# tools/image_statistics.py measures the range, mean and std.
channels, low, high = int('{{$CHANNELS:13}}'), float('{{$LOW:0}}'), float('{{$HIGH:10000}}')
model = dict(
    data_preprocessor=dict(mean=[64.0] * channels, std=[64.0] * channels, bgr_to_rgb=False),
    backbone=dict(arch='deit-small', in_channels=channels),
    # The strongest gradient of all bands, so the target does not grow with their number.
    target_generator=dict(strongest=True),
)
train_dataloader = dict(
    dataset=dict(channels=channels, value_range=(low, high), clip=True),
)
