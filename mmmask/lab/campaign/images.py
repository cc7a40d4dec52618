"""The images of a campaign, divided by lists of names."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmmask.apis.visualize import plain_pipeline
from mmmask.datasets import ImageFolder
from mmmask.datasets.parts import held_out_of_groups

from .declaration import Data
from .files import write_once

PARTS = ('train', 'val', 'test')


class Images:
    """Lists of the images to train on, to choose settings on, and to test on.

    The images of :attr:`Data.train` are divided by groups, in each class by itself: a fifth of the
    groups, ``val``, is left out of every training, and serves to choose settings. The test images
    are those of :attr:`Data.test`; without it, another fifth is held out for them first.

    Args:
        data: what the campaign declares.
        folder: gets the lists, one text file for each part.
    """

    def __init__(self, data: Data, folder: str | os.PathLike) -> None:
        self.data, self.folder = data, Path(folder)
        folder = ImageFolder(data.source, prefix=data.train, with_label=True)
        self.classes = folder.metainfo['classes']
        samples = [folder.get_data_info(index) for index in range(len(folder))]
        parts = dict(train={one['name']: one['gt_label'] for one in samples})
        if data.test is None:
            parts |= self._divide(parts['train'], 'test')
        parts |= self._divide(parts['train'], 'val')
        self.parts = parts
        for name, labels in parts.items():
            self._write(name, labels)

    def _divide(self, labels: dict[str, int], other: str) -> dict[str, dict[str, int]]:
        group = {name: self._group(name) for name in labels}
        held = held_out_of_groups({(labels[name], group[name]) for name in labels})
        return {
            'train': {name: label for name, label in labels.items() if group[name] not in held},
            other: {name: label for name, label in labels.items() if group[name] in held},
        }

    def _group(self, name: str) -> str:
        if self.data.group is None:
            return name
        found = re.search(self.data.group, name)
        if found is None:
            raise ValueError(
                f'data.group={self.data.group!r} does not match the image {name!r}: correct the '
                'expression, or leave it out.'
            )
        return found.group(1)

    def _write(self, name: str, names: Sequence[str]) -> Path:
        return write_once(self.folder / f'{name}.txt', '\n'.join(sorted(names)) + '\n')

    def dataset(self, part: str, pipeline: Sequence | None = None) -> dict:
        """The config of a part, with labels; by default with the pipeline of evaluation.

        Args:
            part: ``'train'``, ``'val'``, ``'test'``, or the name of a list in ``folder``.
        """
        if pipeline is None:
            pipeline = plain_pipeline((self.data.size, self.data.size))
        config = dict(
            type='mmmask.ImageFolder',
            source=self.data.source,
            with_label=True,
            metainfo=dict(classes=self.classes),
            pipeline=pipeline,
        )
        if part == 'test' and self.data.test is not None:
            return dict(config, prefix=self.data.test)
        return dict(config, prefix=self.data.train, subset=str(self.folder / f'{part}.txt'))

    def few(self, fraction: float, seed: int) -> list[str]:
        """The names of a fraction of the training images, in each class at least one, sorted.

        Images of a class come from different groups as long as there are any.
        """
        random = np.random.default_rng(seed)
        by_class = defaultdict(list)
        for name, label in sorted(self.parts['train'].items()):
            by_class[label].append(name)
        chosen = []
        for names in by_class.values():
            shuffled, seen = [names[i] for i in random.permutation(len(names))], defaultdict(int)
            rank = {}
            for name in shuffled:
                rank[name] = seen[self._group(name)]
                seen[self._group(name)] += 1
            ordered = sorted(shuffled, key=rank.get)
            chosen += ordered[: max(1, round(fraction * len(ordered)))]
        return sorted(chosen)

    def list_few(self, fraction: float, seed: int) -> str:
        """Write the list of :meth:`few`, and return its name for :meth:`dataset`."""
        return self._write(f'train-{fraction:g}-seed{seed}', self.few(fraction, seed)).stem
