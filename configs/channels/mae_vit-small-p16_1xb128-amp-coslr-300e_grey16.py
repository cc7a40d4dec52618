_base_ = [
    '../_base_/models/mae_vit-base-p16.py',
    '../_base_/datasets/channels_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# Greyscale of 16-bit files, such as radiographs: PNG, TIFF or NPY in DATA. Values from LOW to HIGH
# become 0 to 255; others are refused, or set to the ends by clip=True in the data set.
# tools/image_statistics.py measures the range, mean and std.
low, high = float('{{$LOW:0}}'), float('{{$HIGH:4095}}')
model = dict(
    data_preprocessor=dict(mean=[127.5], std=[64.0], bgr_to_rgb=False),
    backbone=dict(arch='deit-small', in_channels=1),
    neck=dict(embed_dims=256, depth=4, num_heads=8),
)
train_dataloader = dict(dataset=dict(channels=1, value_range=(low, high)))
