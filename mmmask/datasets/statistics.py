"""Channels, range, mean and standard deviation of a folder of images, measured in a sample."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config

from .cache import explain, in_threads
from .decoding import read_values
from .image_folder import ARRAYS, EXTENSIONS, ImageFolder, printable
from .listing import read_file
from .pixel_format import PixelFormat

FOLDER = 'mmmask.ImageFolder'
BIT_DEPTHS = 8, 10, 12, 14, 16  # of cameras, scanners and microscopes that write 16-bit files
DATASETS = (  # of a config
    *((f'{split}_dataloader', 'dataset') for split in ('train', 'val', 'test')),
    ('test_cfg', 'bank'),
)


class ImageStatistics(NamedTuple):
    """What a sample of images has in common.

    Attributes:
        source, prefix: where the images are.
        num_read, num_images: how many were read, of how many.
        unreadable: reasons why others were not, by their names.
        pixel_format: channels, type and range, for :class:`ImageFolder`.
        values: lowest and highest value in the files of each channel, (C, 2).
        mean, std: of each channel in 0 to 255, three channels as RGB.
    """

    source: str
    prefix: str
    num_read: int
    num_images: int
    unreadable: dict[str, str]
    pixel_format: PixelFormat
    values: np.ndarray
    mean: list[float]
    std: list[float]

    def describe(self) -> str:
        """Lines for a reader."""
        stated = self.pixel_format
        of_all = f'{self.num_read:,} of {self.num_images:,} images were read'
        lines = [f'{of_all}; {len(self.unreadable):,} could not be read.']
        lines += [f'  {printable(n)}: {printable(r)}' for n, r in [*self.unreadable.items()][:5]]
        lines.append(f'channels={stated.channels}, dtype={stated.dtype!r}, value_range=')
        lines[-1] += f'{stated.value_range or (0, 255)}, clip={stated.clip}'
        lines.append('channel  lowest  highest  mean and std in 0 to 255')
        for channel, ((low, high), mean, std) in enumerate(
            zip(self.values, self.mean, self.std, strict=True)
        ):
            lines.append(f'{channel:7}  {low:6g}  {high:7g}  {mean:g}, {std:g}')
        return '\n'.join(lines)


def measure_images(
    source: str | os.PathLike,
    prefix: str = '',
    num_images: int = 1000,
    channels: int | None = None,
    dtype: str | None = None,
    value_range: Sequence | None = None,
    clip: bool = False,
) -> ImageStatistics:
    """Measure a random sample of the images of a folder or zip archive, always the same one.

    Args:
        source, prefix: as in :class:`ImageFolder`.
        num_images: size of the sample; 0 takes all.
        channels: by default what the files have.
        dtype: of the pixels; by default uint8 for 8-bit files and float32 for others.
        value_range: by default 0 to 255 for 8-bit files, 0 to the highest value of the smallest
            depth (8, 10, 12, 14 or 16 bits) that holds all values for unsigned integers, and the
            lowest and highest value of the sample for others.
        clip: as in :class:`PixelFormat`.

    Raises:
        FileNotFoundError: if there is no image.
        MisfitError: if a file has other channels or values than were stated.
        ValueError: if no image is readable, or files differ in channels or in depth.
    """
    dataset = ImageFolder(source, prefix=prefix, extensions=EXTENSIONS + ARRAYS)
    names = [dataset.get_data_info(index)['name'] for index in range(len(dataset))]
    # RandomState, unlike Generator, promises the same numbers in every version of NumPy.
    order = np.random.RandomState(0).permutation(len(names))
    sample = [names[index] for index in sorted(order[: num_images or None])]
    unreadable: dict[str, str] = {}

    def survey(index: int):
        try:
            content = read_file(*dataset.place, sample[index])
            values, _ = read_values(content, channels=channels)
        except Exception as error:  # the libraries know a dozen ways to refuse a file
            unreadable[sample[index]] = explain(error)
            return None
        return values.shape[-1], values.dtype, np.nanmin(values, (0, 1)), np.nanmax(values, (0, 1))

    title = f'reading {printable(dataset._path())}'
    surveys = list(in_threads(survey, len(sample), title))
    read = [name for name, found in zip(sample, surveys, strict=True) if found]
    surveys = [found for found in surveys if found]
    if not read:
        name, reason = next(iter(unreadable.items()))
        raise ValueError(f'no image is readable; {printable(name)}: {printable(reason)}.')
    channels = _agree('channels', [found[0] for found in surveys], read)
    file_dtype = np.dtype(_agree('type', [found[1].name for found in surveys], read))
    values = np.stack(
        [
            np.min([found[2] for found in surveys], axis=0),
            np.max([found[3] for found in surveys], axis=0),
        ],
        axis=-1,
    ).astype(float)
    if value_range is None and file_dtype != np.uint8:
        value_range = _guess_range(file_dtype, values)
    pixel_format = PixelFormat(
        channels, dtype or ('uint8' if file_dtype == np.uint8 else 'float32'), value_range, clip
    )
    pixel_format.check()

    def moments(index: int) -> np.ndarray:
        pixels = dataset.read_image(read[index]).reshape(-1, channels).astype(float)
        return np.stack([np.full(channels, len(pixels)), pixels.sum(0), (pixels**2).sum(0)])

    dataset.pixel_format = pixel_format
    count, first, second = sum(in_threads(moments, len(read), 'measuring'))
    mean = first / count
    std = np.sqrt((second / count - mean**2).clip(0))
    if channels == 3:  # pixels are BGR
        mean, std, values = mean[::-1], std[::-1], values[::-1]
    return ImageStatistics(
        str(source),
        prefix,
        len(read),
        len(names),
        unreadable,
        pixel_format,
        values,
        mean.round(3).tolist(),
        std.round(3).tolist(),
    )


def _agree(what: str, found: list, names: list[str]):
    """What all files have.

    Raises:
        ValueError: if they differ.
    """
    counts = Counter(found).most_common()
    if len(counts) == 1:
        return counts[0][0]
    shown = ', '.join(
        f'{count:,} have {value} (such as {printable(names[found.index(value)])})'
        for value, count in counts[:4]
    )
    remedy = 'give --channels, or ' if what == 'channels' else ''
    raise ValueError(f'files differ in {what}: {shown}. Separate them: {remedy}use --prefix.')


def _guess_range(dtype: np.dtype, values: np.ndarray) -> tuple[float, float]:
    low, high = values.min(), values.max()
    if dtype == np.uint16:
        return 0, (1 << next(depth for depth in BIT_DEPTHS if high < 1 << depth)) - 1
    if not low < high:
        raise ValueError(f'all values are {low:g} to {high:g}: give the range by --range.')
    return (int(low), int(high)) if dtype.kind in 'ui' else (float(low), float(high))


def config_text(statistics: ImageStatistics, base: str | os.PathLike | None, out: Path) -> str:
    """The text of a config in the file ``out``: a training on these images.

    Its other settings are those of ``base``, in which the data sets of train, val and test and the
    bank of a k-NN that are an :class:`ImageFolder` get the options.
    """
    base_config = Config() if base is None else Config.fromfile(base)
    channels = statistics.pixel_format.channels
    source = os.path.abspath(os.path.expanduser(statistics.source))
    options = dict(source=source, **statistics.pixel_format._asdict())
    preprocessor = base_config.get('model', {}).get('data_preprocessor', {})
    reorders = 'to_rgb' if 'to_rgb' in preprocessor else 'bgr_to_rgb'
    lines = [
        f'# Measured by image_statistics.py in {statistics.num_read:,} of '
        f'{statistics.num_images:,} images.',
        *([] if base is None else [f'_base_ = {os.path.relpath(base, out.parent)!r}']),
        '',
        'model = dict(',
        '    data_preprocessor=dict(',
        f'        mean={statistics.mean},',
        f'        std={statistics.std},',
        f'        {reorders}={channels == 3},',
        '    ),',
        f'    backbone=dict(in_channels={channels}),',
        ')',
    ]
    for name, part in DATASETS:
        is_train = name == 'train_dataloader'
        dataset = (base_config.get(name) or {}).get(part, {})
        if dataset.get('type') == FOLDER or (is_train and base is None):
            prefix = dict(prefix=statistics.prefix) if is_train and statistics.prefix else {}
            lines += [f'{name} = dict(', f'    {part}=dict(']
            lines += [f'        {key}={value!r},' for key, value in (options | prefix).items()]
            lines += ['    )', ')']
    return '\n'.join(lines) + '\n'
