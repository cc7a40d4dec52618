"""Augmentation of whole batches on the device that trains."""

from collections.abc import Sequence

from mmpretrain.models import SelfSupDataPreprocessor
from torch import nn

from mmmask.registry import MODELS


@MODELS.register_module()
class AugmentingDataPreprocessor(SelfSupDataPreprocessor):
    """Views of a batch, augmented where the model is, each image with parameters of its own.

    The loader gives one batch of equally large images, of which all views are made, or a list of
    views, one for each augmentation; these may have been cropped already, at full resolution. What
    is not for training is only normalised. Needs kornia.

    The distributions are those of the pipelines of mmpretrain in ``configs/_base_/datasets``. What
    differs: kornia draws the order of the four colour steps for a batch, mmpretrain for an image;
    kornia's blur ends at three standard deviations; its crops are not smoothed before they shrink.

    Args:
        views: for each view the arguments of :func:`view_augmentation`.
        size: side of the crops of all views; None if they are cropped already.
        **kwargs: as in mmpretrain's ``SelfSupDataPreprocessor``.
    """

    def __init__(self, views: Sequence[dict], size: int | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.views = nn.ModuleList(view_augmentation(size, **view) for view in views)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Batch of a loader -> ``inputs``, a list of normalised (B, C, H, W), and data samples.

        Raises:
            ValueError: if a list has more or fewer views than there are augmentations.
        """
        if training:
            images = self.cast_data(data['inputs'])
            images = images if isinstance(images, Sequence) else [images] * len(self.views)
            if len(images) != len(self.views):
                raise ValueError(
                    f'the loader gives {len(images)} views but data_preprocessor.views has '
                    f'{len(self.views)}: give as many, or one image without MultiView.'
                )
            views = [
                self._swap(augment(self._swap(image.float() / 255))) * 255
                for augment, image in zip(self.views, images, strict=True)
            ]
            data = data | dict(inputs=views)
        return super().forward(data, training)

    def _swap(self, images):
        """From BGR, as images are loaded, to RGB, in which colours are changed, and back."""
        return images.flip(1) if self._channel_conversion else images


def view_augmentation(
    size: int | None = None,
    crop_ratio_range: tuple[float, float] = (0.08, 1.0),
    flip: float = 0.5,
    jitter: float = 0.8,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.2,
    hue: float = 0.1,
    grayscale: float = 0.2,
    blur: float = 1.0,
    blur_range: tuple[float, float] = (0.1, 2.0),
    solarize: float = 0.0,
) -> nn.Sequential:
    """The augmentation of one view; the defaults are those of BYOL's first (appendix B).

    Args:
        size: side of the crops; None leaves images as large as they are.
        crop_ratio_range: share of the image's area in a crop.
        flip, jitter, grayscale, blur, solarize: probabilities.
        brightness, contrast, saturation, hue: of the jitter, as in torchvision.
        blur_range: standard deviations of the blur, in pixels.

    Raises:
        ModuleNotFoundError: without kornia.
    """
    try:
        from kornia import augmentation
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "augmenting on the device needs kornia: pip install 'mmmask[augment]', or use a config "
            'whose data pipeline augments.'
        ) from error
    radius = int(3 * blur_range[1] + 0.5)
    steps = [
        augmentation.RandomHorizontalFlip(p=flip),
        augmentation.ColorJitter(brightness, contrast, saturation, hue, p=jitter),
        augmentation.RandomGrayscale(p=grayscale),
        augmentation.RandomGaussianBlur(2 * radius + 1, blur_range, 'replicate', p=blur),
        # From the middle on, as mmpretrain's threshold of 128 in 0 … 255.
        augmentation.RandomSolarize((128 / 255, 128 / 255), (0.0, 0.0), p=solarize),
    ]
    if size is not None:
        crop = augmentation.RandomResizedCrop(
            (size, size), crop_ratio_range, (3 / 4, 4 / 3), 'bicubic', align_corners=False
        )
        steps.insert(0, crop)
    return nn.Sequential(*steps)
