"""Cost of two augmented views of each image, on the device and in the data pipeline."""

from collections.abc import Callable

import torch
from mmengine.dataset import Compose
from torchvision.transforms import v2

from mmmask.models.augmentation import view_augmentation

JITTER = dict(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
RGB_WEIGHTS = (0.114, 0.587, 0.2989)  # of B, G, R


def augmentation_calls(batch_size: int, img_size: int, device: torch.device) -> dict[str, Callable]:
    """BYOL's two views: of a batch by kornia, image by image by torchvision and by mmpretrain.

    The images are twice as large as the crops. mmpretrain's pipeline runs on the CPU, where in
    training the workers of the loader share its cost.
    """
    torch.manual_seed(0)
    side = 2 * img_size
    images = torch.randint(0, 256, (batch_size, 3, side, side), dtype=torch.uint8, device=device)
    arrays = list(images.cpu().permute(0, 2, 3, 1).contiguous().numpy())
    options = (dict(blur=1.0, solarize=0.0), dict(blur=0.1, solarize=0.2))
    batched = [view_augmentation(img_size, **view).to(device) for view in options]
    single = [_torchvision(img_size, **view) for view in options]
    pipelines = [_mmpretrain(img_size, **view) for view in options]
    return {
        'kornia, the batch': lambda: [augment(images.float() / 255) for augment in batched],
        'torchvision, each image': lambda: [
            torch.stack([augment(image) for image in images]) for augment in single
        ],
        "mmpretrain's pipeline, each image": lambda: [
            [pipeline(dict(img=array)) for array in arrays] for pipeline in pipelines
        ],
    }


def _torchvision(size: int, blur: float, solarize: float) -> v2.Compose:
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, interpolation=v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(**JITTER)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(13, (0.1, 2.0))], p=blur),
            v2.RandomSolarize(128, p=solarize),
        ]
    )


def _mmpretrain(size: int, blur: float, solarize: float) -> Compose:
    steps = [
        dict(type='RandomResizedCrop', scale=size, backend='pillow', interpolation='bicubic'),
        dict(type='RandomFlip', prob=0.5),
        dict(
            type='RandomApply',
            transforms=[dict(type='mmpretrain.ColorJitter', **JITTER)],
            prob=0.8,
        ),
        dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=RGB_WEIGHTS),
        dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=blur),
        dict(type='Solarize', thr=128, prob=solarize),
    ]
    return Compose([step | dict(type=f'mmpretrain.{step["type"]}') for step in steps])
