"""Altered copies of images, and the images among which they are searched."""

import io
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, ImageEnhance

from mmmask.registry import DATASETS

from .image_folder import ImageFolder

# INRIA Copydays: one attack of each kind on every original, and 229 strong attacks.
JPEG_QUALITIES = (3, 5, 8, 10, 15, 20, 30, 50, 75)
CROPPED_PERCENT = (10, 15, 20, 30, 40, 50, 60, 70, 80)
COPYDAYS_BLOCKS = (
    'strong',
    *(f'jpegqual/{quality}' for quality in JPEG_QUALITIES),
    *(f'crops/{percent}' for percent in CROPPED_PERCENT),
)

AREA = 0.1, 0.8  # fraction of an image that remains
PASTED_AREA = 0.2, 0.6  # fraction of the background that is covered
MAX_ANGLE = 15  # degrees
COLOR = 0.6, 1.4  # brightness, contrast and saturation
QUALITY = 3, 75  # of JPEG


@DATASETS.register_module()
class Copydays(ImageFolder):
    """One block of INRIA Copydays, labelled by the image that is shown.

    ``source`` holds the folders ``original``, ``strong``, ``jpegqual/3`` to ``jpegqual/75`` and
    ``crops/10`` to ``crops/80``. File names have six digits. The first four identify the image
    and become the label: ``strong/200001.jpg`` is made from ``original/200000.jpg``.

    Args:
        source: a folder or a zip archive.
        block: ``'original'`` or one of ``COPYDAYS_BLOCKS``.
        **kwargs: of :class:`ImageFolder`.

    Raises:
        ValueError: for an unknown block, or a file whose name is not of this form.
    """

    def __init__(self, source: str, block: str, **kwargs) -> None:
        if block not in ('original', *COPYDAYS_BLOCKS):
            raise ValueError(f'block={block!r} is not one of {("original", *COPYDAYS_BLOCKS)}.')
        super().__init__(source, prefix=block, with_label=True, **kwargs)

    def _labels(self, names: list[str]) -> list[int]:
        stems = [PurePosixPath(name).stem for name in names]
        strange = [stem for stem in stems if not stem[:4].isdigit()]
        if strange:
            raise ValueError(
                f'{self._path(strange[0])!r} is not a file name of Copydays: the first four '
                'characters are the number of the image, as in 200001.jpg.'
            )
        return [int(stem[:4]) for stem in stems]


@DATASETS.register_module()
class PartialDuplicates(ImageFolder):
    """Parts of images pasted on other images, and a database in which they are searched.

    A seed selects ``num_queries`` originals and as many backgrounds. A query is a part of an
    original on a background, always the same one, see :func:`partial_duplicate`. The database
    holds all images except the backgrounds. A query and its original have the same label, from 0 to
    ``num_queries`` − 1; other images have the label −1.

    Args:
        source: a folder or a zip archive.
        part: ``'queries'`` or ``'database'``.
        num_queries: number of queries.
        seed: of the selection and of the alterations.
        **kwargs: of :class:`ImageFolder`.

    Raises:
        ValueError: for another part, or fewer images than two for each query.
    """

    def __init__(
        self, source: str, part: str, num_queries: int = 200, seed: int = 0, **kwargs
    ) -> None:
        if part not in ('queries', 'database'):
            raise ValueError(f"part={part!r} is not one of 'queries', 'database'.")
        self.side, self.num_queries, self.seed = part, num_queries, seed
        super().__init__(source, **kwargs)
        if (self.pixel_format.channels, self.pixel_format.dtype) != (3, 'uint8'):
            raise ValueError('queries are made of 8-bit colour images: leave out channels, dtype.')

    def load_data_list(self) -> list[dict]:
        """Queries in the order of their labels, or the database sorted by name."""
        samples = super().load_data_list()
        if len(samples) < 2 * self.num_queries:
            raise ValueError(
                f'num_queries={self.num_queries} needs twice as many images, an original and a '
                f'background each, but there are {len(samples)} in {self._path()!r}.'
            )
        # RandomState, unlike Generator, promises the same numbers in every version of NumPy.
        order = np.random.RandomState(self.seed).permutation(len(samples))
        originals, backgrounds = order[: 2 * self.num_queries].reshape(2, -1).tolist()
        if self.side == 'queries':
            return [
                samples[original] | dict(gt_label=label, background=samples[background])
                for label, (original, background) in enumerate(
                    zip(originals, backgrounds, strict=True)
                )
            ]
        labels = dict(zip(originals, range(self.num_queries), strict=True))
        return [
            sample | dict(gt_label=labels.get(index, -1))
            for index, sample in enumerate(samples)
            if index not in set(backgrounds)
        ]

    def load(self, sample: dict) -> bool:
        """Put the decoded image into the sample, altered if it is a query."""
        background = sample.pop('background', None)
        if not super().load(sample):
            return False
        if background is not None:
            below = dict(background)
            if not super().load(below):
                return False
            random = np.random.RandomState([self.seed, sample['gt_label']])
            sample['img'] = partial_duplicate(sample['img'], below['img'], random)
            sample['img_shape'] = sample['ori_shape'] = sample['img'].shape[:2]
        return True


def partial_duplicate(image: np.ndarray, background: np.ndarray, random) -> np.ndarray:
    """(H, W, 3) image, (H', W', 3) background -> (H', W', 3): a part of the image pasted on it.

    A crop of 10 to 80 % of the area gets other colours, is rotated by up to 15°, and is pasted on
    20 to 60 % of the background. The result is compressed as a JPEG of quality 3 to 75. All arrays
    are uint8 BGR.
    """
    height, width = image.shape[:2]
    side = np.sqrt(random.uniform(*AREA))
    shape = max(1, round(height * side)), max(1, round(width * side))
    top, left = random.randint(height - shape[0] + 1), random.randint(width - shape[1] + 1)
    patch = _picture(image[top : top + shape[0], left : left + shape[1]])
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        patch = enhance(patch).enhance(random.uniform(*COLOR))

    canvas = _picture(background)
    scale = np.sqrt(random.uniform(*PASTED_AREA) * np.prod(canvas.size) / np.prod(patch.size))
    # A patch that is longer than the background would be cropped again.
    scale = min(scale, canvas.width / patch.width, canvas.height / patch.height)
    patch = patch.resize([max(1, round(length * scale)) for length in patch.size], Image.BICUBIC)
    angle = random.uniform(-MAX_ANGLE, MAX_ANGLE)
    stencil = Image.new('L', patch.size, 255).rotate(angle, Image.BICUBIC, expand=True)
    patch = patch.rotate(angle, Image.BICUBIC, expand=True)
    room = [max(0, there - here) for there, here in zip(canvas.size, patch.size, strict=True)]
    canvas.paste(patch, [random.randint(space + 1) for space in room], stencil)
    buffer = io.BytesIO()
    canvas.save(buffer, 'JPEG', quality=int(random.randint(QUALITY[0], QUALITY[1] + 1)))
    return np.ascontiguousarray(np.asarray(Image.open(buffer))[..., ::-1])


def _picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
