"""Samples for pre-training, from JPEGs of the size of ImageNet's, beside mmpretrain's pipeline."""

import os
import tempfile
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import torch
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from mmmask.datasets import Draw, ImageFolder, ResumableSampler
from mmmask.datasets.sampling import seed_random_numbers

SIZE = 500, 375  # the most frequent size in ImageNet
QUALITY = 92
CACHE_SIDES = 4 / 5, 1 / 5**0.5  # crop over short side: about one to one; nothing is lost
CROP = dict(crop_ratio_range=(0.2, 1.0))


def loader_calls(batch_size: int, img_size: int, device: torch.device) -> dict[str, Callable]:
    """A batch of samples by mmpretrain's MAE pipeline, and by mmmask from the same files.

    mmmask decodes each image for one sample or for four, or takes them from decoded copies. Both
    read files through a data set. OpenCV and PyTorch use one thread.
    """
    init_default_scope('mmpretrain')
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    folder = tempfile.TemporaryDirectory()  # which the calls keep
    source = str(Path(folder.name, 'images'))
    write_photographs(Path(source), batch_size)

    def ours(**kwargs) -> Callable:
        pipeline = [
            dict(type='mmmask.RandomResizedCrop', scale=img_size, flip_prob=0.5, **CROP),
            dict(type='mmpretrain.PackInputs'),
        ]
        with mock.patch.dict(os.environ, XDG_CACHE_HOME=folder.name):
            dataset = ImageFolder(source, pipeline=pipeline, **kwargs)
        draws = cycle_epochs(ResumableSampler(dataset, seed=0))

        def load() -> None:  # as a worker does through a SeededDataset
            for draw in islice(draws, batch_size):
                seed_random_numbers(draw.seed)
                dataset[draw.index]

        load.folder = folder
        return load

    theirs = DATASETS.build(
        dict(
            type='mmpretrain.CustomDataset',
            data_root=source,
            with_label=False,
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(
                    type='mmpretrain.RandomResizedCrop',
                    scale=img_size,
                    backend='pillow',
                    interpolation='bicubic',
                    **CROP,
                ),
                dict(type='mmpretrain.RandomFlip', prob=0.5),
                dict(type='mmpretrain.PackInputs'),
            ],
        )
    )
    calls = {
        "mmpretrain's MAE pipeline": lambda: [theirs[index] for index in range(batch_size)],
        'mmmask': ours(),
        'mmmask, repeats=4': ours(repeats=4),
    }
    for fraction in CACHE_SIDES:
        side = round(img_size / fraction)
        if side < min(SIZE):
            calls[f'mmmask, cache_side={side}'] = ours(cache_side=side)
    return calls


def cycle_epochs(sampler: ResumableSampler) -> Iterator[Draw]:
    """The samples of one epoch after the other."""
    for epoch in count():
        sampler.set_epoch(epoch)
        yield from sampler


def write_photographs(folder: Path, num_images: int) -> None:
    """Write crops of scikit-image's photographs as JPEGs of ``SIZE``, the same each time."""
    from skimage import data

    folder.mkdir()
    photographs = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    random = np.random.default_rng(0)
    for number in range(num_images):
        image = Image.fromarray(photographs[number % len(photographs)])
        scale = random.uniform(0.8, 1) * min(image.width / SIZE[0], image.height / SIZE[1])
        width, height = SIZE[0] * scale, SIZE[1] * scale
        left, top = random.uniform(0, image.width - width), random.uniform(0, image.height - height)
        box = left, top, left + width, top + height
        image.resize(SIZE, Image.BICUBIC, box).save(folder / f'{number:05}.jpg', quality=QUALITY)
