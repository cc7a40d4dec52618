"""Images of a folder or of a zip archive, with or without labels."""

import functools
import logging
import os
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmmask.registry import DATASETS

from .decoding import decode_image

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.gif', '.tif', '.tiff', '.webp', '.ppm', '.pgm')
UNSEEN, READABLE, UNREADABLE = range(3)
ENOUGH_TO_JUDGE = 100  # files tried before their share of unreadable ones is held against the rest
MAX_BYTES = 1 << 28  # of a file; what an archive unpacks to is known before it does


@DATASETS.register_module()
class ImageFolder(BaseDataset):
    """All images below a folder, or in a zip archive that is read in place.

    A sample holds the decoded image, ``img`` (H, W, 3) uint8 **BGR**: a pipeline needs no loader
    and starts with its augmentations, and the data preprocessor turns BGR into RGB, as everywhere
    in OpenMMLab. Hidden files, ``__MACOSX`` and other extensions are passed over.

    A file that cannot be decoded is reported once, with its path and the reason, and another image
    takes its place, drawn by the file's index so that evaluation repeats. What is known of each
    file lies in shared memory, hence all workers of a process report and count together. A file
    that vanishes during training counts as one, and as soon as a hundred draws in a row find
    nothing readable, as when a disk is gone, the run stops.

    Args:
        source: a folder or a ``.zip`` file.
        prefix: take only what lies under this sub-folder.
        subset: take a part of the images only: a share of each class, such as 0.01, always the same
            one; or a text file with a file name a line, as the lists of 1 % and 10 % of ImageNet.
        with_label: label each image with its first-level folder under ``prefix``; the sorted
            folder names become ``metainfo['classes']``, unless ``metainfo`` gives the classes.
        least_side: decode large JPEGs at a fraction of their size, see :func:`decode_image`.
        extensions: file endings that count as images, in any case.
        max_unreadable: above this share of unreadable files the run stops. It is counted against
            all files, and once a hundred have been tried, against those.
        report_file: text file to which ``path <tab> reason`` of each unreadable file is appended.
        **kwargs: ``pipeline``, ``metainfo``, ``indices`` and all of mmengine's ``BaseDataset``.

    Raises:
        FileNotFoundError: if source or prefix does not exist, or holds no image.
        ValueError: if source is a file but no zip archive, an image has no class, or subset is no
            share or names files that are not there.
        RuntimeError: on reading, when more than ``max_unreadable`` of the files are unreadable.
    """

    def __init__(
        self,
        source: str | os.PathLike,
        prefix: str = '',
        with_label: bool = False,
        subset: float | str | None = None,
        least_side: int | None = None,
        extensions: Sequence[str] = EXTENSIONS,
        max_unreadable: float = 0.5,
        report_file: str | None = None,
        **kwargs,
    ) -> None:
        self.source = os.path.expanduser(os.fspath(source))
        self.prefix = prefix.strip('/')
        self.with_label = with_label
        self.subset = subset
        self.least_side = least_side
        self.extensions = tuple(extension.lower() for extension in extensions)
        self.max_unreadable = max_unreadable
        self.report_file = report_file
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """List the images in sorted order: one dict per file, as ``BaseDataset`` wants them."""
        if not os.path.exists(self.source):
            raise FileNotFoundError(
                f'source={self.source!r} does not exist: give a folder or a .zip file of images.'
            )
        names = sorted(filter(self._is_image, list_files(self.source, self.prefix)))
        if not names:
            raise FileNotFoundError(self._explain_emptiness())
        self._state = torch.full((len(names),), UNSEEN, dtype=torch.uint8).share_memory_()
        samples = [dict(name=name, file_index=index) for index, name in enumerate(names)]
        if self.with_label:
            for sample, label in zip(samples, self._labels(names), strict=True):
                sample['gt_label'] = label
        return samples if self.subset is None else self._choose(samples)

    def _choose(self, samples: list[dict]) -> list[dict]:
        """The part of the samples that ``subset`` names."""
        if isinstance(self.subset, str):
            wanted = set(Path(self.subset).expanduser().read_text().split())
            chosen = [s for s in samples if {s['name'], s['name'].split('/')[-1]} & wanted]
            if len(chosen) < len(wanted):
                raise ValueError(
                    f'subset={self.subset!r} names {len(wanted)} files, of which {len(chosen)} are '
                    f'in {self._path()!r}: give the list that belongs to these images.'
                )
            return chosen
        if not 0 < self.subset <= 1:
            raise ValueError(f'subset={self.subset} is no share: choose it above 0 and up to 1.')
        by_class = defaultdict(list)
        # RandomState, unlike Generator, promises the same numbers in every version of NumPy.
        for index in np.random.RandomState(0).permutation(len(samples)):
            by_class[samples[index].get('gt_label')].append(index)
        chosen = [
            index
            for members in by_class.values()
            for index in members[: max(1, round(self.subset * len(members)))]
        ]
        return [samples[index] for index in sorted(chosen)]

    def _is_image(self, name: str) -> bool:
        hidden = any(part.startswith('.') or part == '__MACOSX' for part in name.split('/'))
        return not hidden and name.lower().endswith(self.extensions)

    def _labels(self, names: list[str]) -> list[int]:
        folders = [name.split('/')[0] if '/' in name else None for name in names]
        if None in folders:
            raise ValueError(
                'with_label=True takes the class of an image from its first-level folder under '
                f'{self._path()!r}, but {names[folders.index(None)]!r} lies in none. Move it into '
                'a folder named after its class, or set with_label=False.'
            )
        classes = self._metainfo.setdefault('classes', sorted(set(folders)))
        unknown = sorted(set(folders) - set(classes))
        if unknown:
            raise ValueError(
                f"metainfo['classes'] lacks {unknown}, which are folders of {self._path()!r}: add "
                'them, or leave classes out to take every folder.'
            )
        numbers = {name: number for number, name in enumerate(classes)}
        return [numbers[folder] for folder in folders]

    def _explain_emptiness(self) -> str:
        hint = 'Point source at the images, or name their endings in extensions.'
        if self.prefix:
            present = sorted({name.split('/')[0] for name in list_files(self.source)})
            hint = f'Or is prefix={self.prefix!r} wrong? There is {present[:10]} at the top. {hint}'
        return (
            f'no image in {self._path()!r} (looked for {", ".join(self.extensions)} in all '
            f'sub-folders). {hint}'
        )

    def _path(self, name: str = '') -> str:
        return '/'.join(filter(None, [self.source, self.prefix, name]))

    def prepare_data(self, idx: int):
        """The idx-th sample after the pipeline, or another in place of an unreadable one."""
        random = np.random.default_rng(abs(idx))
        draws = min(self.max_refetch + 1, ENOUGH_TO_JUDGE)
        for _ in range(draws):
            sample = self.get_data_info(idx)
            if self.load(sample):
                return self.pipeline(sample)
            idx = int(random.integers(len(self)))
        raise RuntimeError(
            f'no readable image in {draws} draws from {self._path()!r}: is the disk still there?'
        )

    def load(self, sample: dict) -> bool:
        """Put the decoded image into the sample, or take note that it cannot be."""
        name, index = sample.pop('name'), sample.pop('file_index')
        if self._state[index] == UNREADABLE:
            return False
        try:
            image = decode_image(read_file(self.source, self.prefix, name), self.least_side)
        except Exception as error:  # Pillow and zipfile know a dozen ways to refuse a file
            self._state[index] = UNREADABLE
            self._report(self._path(name), error)
            return False
        self._state[index] = READABLE
        size = image.shape[:2]
        sample.update(img=image, img_path=self._path(name), img_shape=size, ori_shape=size)
        return True

    def _report(self, path: str, error: Exception) -> None:
        tried = int((self._state != UNSEEN).sum())
        unreadable = int((self._state == UNREADABLE).sum())
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        print_log(
            f'Unreadable image passed over, number {unreadable} of {tried} tried so far: {path} '
            f'({reason})',
            logger='current',
            level=logging.WARNING,
        )
        if self.report_file:
            with open(self.report_file, 'a') as report:
                report.write(f'{path}\t{reason}\n')
        total = len(self._state)
        judged = tried if tried >= ENOUGH_TO_JUDGE else total
        if unreadable > self.max_unreadable * judged:
            raise RuntimeError(
                f'{unreadable} of {judged} images in {self._path()!r} are unreadable, more than '
                f'max_unreadable={self.max_unreadable:.0%}; the last was {path} ({reason}). Mend '
                'or remove them, or raise max_unreadable.'
            )


def list_files(source: str, prefix: str = '') -> list[str]:
    """Names of the files below a folder or in a zip archive, relative to the prefix.

    Links to folders are followed, each folder once.
    """
    if os.path.isfile(source):
        start = f'{prefix}/' if prefix else ''
        names = open_archive(source, os.getpid()).namelist()
        return [name[len(start) :] for name in names if name.startswith(start)]
    top = os.path.join(source, prefix)
    names, seen = [], set()
    for folder, subfolders, files in os.walk(top, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        names += [os.path.relpath(os.path.join(folder, file), top) for file in files]
    return [name.replace(os.sep, '/') for name in names]


def read_file(source: str, prefix: str, name: str) -> bytes:
    """The bytes of one of :func:`list_files`' names. Nothing of an archive is written to disk.

    Raises:
        OSError, KeyError, zipfile.BadZipFile: if it cannot be read.
        ValueError: if it is larger than an image can be.
    """
    if os.path.isfile(source):
        member = f'{prefix}/{name}' if prefix else name
        archive = open_archive(source, os.getpid())
        _check_size(archive.getinfo(member).file_size)
        return archive.read(member)
    path = Path(source, prefix, name)
    _check_size(path.stat().st_size)
    return path.read_bytes()


def _check_size(num_bytes: int) -> None:
    if num_bytes > MAX_BYTES:
        raise ValueError(f'the file has {num_bytes:,} bytes, more than {MAX_BYTES:,}')


@functools.lru_cache(maxsize=8)
def open_archive(path: str, process: int) -> zipfile.ZipFile:
    """An open zip archive; one per process, for a forked worker must not share its file offset.

    Raises:
        ValueError: if the file is not a zip archive.
    """
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f'source={path!r} is neither a folder nor a zip archive ({error}): unpack it into a '
            'folder, or give a .zip file.'
        ) from error
