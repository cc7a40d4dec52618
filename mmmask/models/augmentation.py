"""Augmentation of whole batches on the training device."""

from collections.abc import Sequence

from torch import nn

from mmmask.registry import MODELS

from .data_preprocessor import DataPreprocessor


@MODELS.register_module()
class AugmentingDataPreprocessor(DataPreprocessor):
    """Augment views of a batch on the device of the model, with separate parameters for each image.

    The data loader provides either one batch of images of equal size, from which all views are
    made, or a list with one view for each augmentation. The views of a list may already be cropped
    at full resolution. Outside training, images are only normalised. Needs kornia.

    The distributions are those of the mmpretrain pipelines in ``configs/_base_/datasets``, with
    three differences: kornia samples the order of the four colour steps per batch instead of per
    image, its blur kernel ends at three standard deviations, and its crops are not antialiased.

    Args:
        views: arguments of :func:`view_augmentation` for each view.
        size: side of the crops of all views; None if the images are already cropped.
        **kwargs: as in :class:`DataPreprocessor`.

    Raises:
        ValueError: if colours change in images with another number of channels than three.
    """

    def __init__(self, views: Sequence[dict], size: int | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        channels = self.mean.numel() if self._enable_normalize else 3
        for number, view in enumerate(views):
            wrong = [name for name in ('jitter', 'grayscale') if view.get(name, 1)]
            if channels not in (1, 3) and wrong:
                raise ValueError(
                    f'views.{number}.{wrong[0]} changes three colours, but mean has {channels} '
                    f'values: set views.{number}.jitter=0 and grayscale=0.'
                )
        self.views = nn.ModuleList(view_augmentation(size, **view) for view in views)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Batch of the data loader -> ``inputs``, a list of normalised (B, C, H, W), and samples.

        Raises:
            ValueError: if the numbers of views and of augmentations differ.
        """
        if training:
            images = self.cast_data(data['inputs'])
            images = images if isinstance(images, Sequence) else [images] * len(self.views)
            if len(images) != len(self.views):
                raise ValueError(
                    f'the data loader provides {len(images)} views but data_preprocessor.views has '
                    f'{len(self.views)}: provide as many, or one image without MultiView.'
                )
            views = [
                self._swap(augment(self._swap(image.float() / 255))) * 255
                for augment, image in zip(self.views, images, strict=True)
            ]
            data = data | dict(inputs=views)
        return super().forward(data, training)

    def _swap(self, images):
        """BGR, as images are loaded, to RGB for the colour steps, and back."""
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
    solarize: float = 0.0,
) -> nn.Sequential:
    """The augmentation of one view; the defaults are those of the first view of BYOL (appendix B).

    The standard deviation of the blur is uniform in 0.1 to 2 pixels.

    Args:
        size: side of the crops; None for no crop.
        crop_ratio_range: fraction of the image's area in a crop.
        flip, jitter, grayscale, blur, solarize: probabilities.
        brightness, contrast, saturation, hue: strengths of the jitter, as in torchvision.

    Raises:
        ModuleNotFoundError: without kornia.
    """
    try:
        from kornia import augmentation
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "augmentation on the device needs kornia: pip install 'mmmask[augment]', or use a "
            'config that augments in the data pipeline.'
        ) from error
    blur_range = (0.1, 2.0)
    radius = int(3 * blur_range[1] + 0.5)
    color = augmentation.ColorJitter(brightness, contrast, saturation, hue, p=jitter)
    steps = [
        augmentation.RandomHorizontalFlip(p=flip),
        *([color] if jitter else []),  # which refuses other images than of three colours
        augmentation.RandomGrayscale(p=grayscale),
        augmentation.RandomGaussianBlur(2 * radius + 1, blur_range, 'replicate', p=blur),
        # The threshold of mmpretrain, 128 of 255.
        augmentation.RandomSolarize((128 / 255, 128 / 255), (0.0, 0.0), p=solarize),
    ]
    if size is not None:
        crop = augmentation.RandomResizedCrop(
            (size, size), crop_ratio_range, (3 / 4, 4 / 3), 'bicubic', align_corners=False
        )
        steps.insert(0, crop)
    return nn.Sequential(*steps)
