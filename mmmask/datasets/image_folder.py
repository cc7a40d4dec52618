"""Images of a folder, of a zip archive or of shards, with or without labels."""

import logging
import os
import posixpath
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import RandomGrayscale
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmpretrain.datasets import transforms

from mmmask.registry import DATASETS

from .cache import cache_key, explain, make_cache, open_cache
from .decoding import decode_image
from .listing import fingerprints, list_files, locate, read_file
from .parts import check_part, held_out_of_groups
from .pixel_format import MisfitError, PixelFormat
from .resizing import shrink_image
from .sources import EXTENSIONS, SHARDS, missing_path

ARRAYS = ('.npy',)  # read only where channels or a range are stated: others may be features
# Images all the same, which Pillow cannot read, or which have no 8-bit range.
OTHER_IMAGES = (
    *('.heic', '.heif', '.jp2', '.jxl', '.svg', '.psd', '.xcf', '.tga', '.exr', '.hdr'),
    *ARRAYS,
    *('.dng', '.cr2', '.cr3', '.nef', '.arw', '.orf', '.rw2', '.raf', '.raw', '.dcm'),
)
EIGHT_BIT_COLOURS = (
    *(transforms.BaseAugTransform, transforms.ColorJitter, transforms.Lighting),
    *(transforms.Albumentations, transforms.RandAugment, RandomGrayscale),
)
UNSEEN, READABLE, UNREADABLE = range(3)
ENOUGH_TO_JUDGE = 100  # files read before the unreadable ones are compared with these alone


@DATASETS.register_module()
class ImageFolder(BaseDataset):
    """All images below a folder, or in a zip archive or shards, which are read in place.

    A sample holds the decoded image, ``img`` (H, W, 3) uint8 **BGR**: a pipeline needs no loader
    and starts with its augmentations, and the data preprocessor turns BGR into RGB, as everywhere
    in OpenMMLab. Hidden files and ``__MACOSX`` are skipped, and so are files with other extensions;
    a warning counts those that are images.

    With ``channels``, ``dtype`` or ``value_range``, images may have any number of channels and any
    range: greyscale or multispectral, PNG, TIFF (through tifffile) or NPY, with channels first or
    last. A sample then holds (H, W, C) from 0 to 255, and a file that contradicts these options
    stops the run.

    A file that cannot be decoded is reported once, with its path and the reason, and another image
    takes its place. That image depends on the file's index alone, so that evaluation repeats. What
    is known about each file is in shared memory, hence all workers of a process report and count
    together. A file that vanishes during training counts as unreadable. When a hundred attempts in
    a row find nothing readable, for example because a disk is gone, the run stops.

    Args:
        source: a folder; a ``.zip`` file; or a shard, a range of shards such as
            ``train-{000..015}.tar``, or a folder of shards. A shard is an uncompressed tar archive,
            as of webdataset, or an Arrow or Parquet table, as of Hugging Face's datasets, which
            needs ``mmmask[parquet]``. Each image is below a folder of its class, if that is stated:
            in ``0.cls`` for ``0.jpg``, or in the table.
        prefix: take only files below this sub-folder.
        subset: take only a part of the images: a fraction of each class, such as 0.01, always the
            same one; or a text file with the path of an image below ``prefix``, or its bare file
            name, in each line, as the lists of 1 % and 10 % of ImageNet.
        part: ``'train'`` or ``'val'``, to divide a folder without such sub-folders by names, see
            :func:`mmmask.datasets.held_out`; with labels, each class by itself.
        with_label: label each image with its first-level folder under ``prefix``; the sorted
            folder names become ``metainfo['classes']``, unless ``metainfo`` gives the classes.
        repeats: show each image this many times in a row, decoded once and augmented anew each
            time. :class:`ResumableSampler` reads it. An epoch keeps its number of samples, and so
            contains a part of the images; ``repeats`` epochs contain them all.
        cache_side: decode all images once, shrink them to this short side, and keep them in a file
            in ``~/.cache/mmmask/images`` (or ``$XDG_CACHE_HOME``) that all processes share. For
            crops of S pixels from at least a fraction r of the area, S / √r loses nothing.
        least_side: decode large JPEGs at a fraction of their size, see :func:`decode_image`. By
            default what the first transform of the pipeline gives as ``least_side``.
        channels, dtype, value_range, clip: what the images hold and what the samples get, see
            :class:`PixelFormat`. ``tools/image_statistics.py`` measures them.
        extensions: file endings that count as images, in any case. ``.npy`` is one of them if
            channels, dtype or value_range are stated.
        max_unreadable: above this fraction of unreadable files the run stops. They are compared
            with all files, and once a hundred have been read, with those.
        report_file: text file to which ``path <tab> reason`` of each unreadable file is appended.
        **kwargs: ``pipeline``, ``metainfo``, ``indices`` and the rest of mmengine's
            ``BaseDataset``.

    Raises:
        FileNotFoundError: if source, prefix or subset does not exist, or there is no image.
        OSError: if the disk has too little space for the cache.
        MisfitError: on reading, if a file contradicts what is stated about channels or values.
        ValueError: if source is a file but not an archive, indices are beyond the images, an image
            has no class, two classes are one folder, subset is not a fraction or names files that
            are missing or ambiguous, or a transform takes 8-bit colours only and the images are
            others.
        RuntimeError: on reading, when more than ``max_unreadable`` of the files are unreadable.
    """

    def __init__(
        self,
        source: str | os.PathLike,
        prefix: str = '',
        with_label: bool = False,
        subset: float | str | None = None,
        part: str | None = None,
        repeats: int = 1,
        cache_side: int | None = None,
        least_side: int | None = None,
        channels: int = 3,
        dtype: str = 'uint8',
        value_range: Sequence | None = None,
        clip: bool = False,
        extensions: Sequence[str] | None = None,
        max_unreadable: float = 0.5,
        report_file: str | None = None,
        **kwargs,
    ) -> None:
        if not isinstance(source, str | os.PathLike):
            raise ValueError(
                f'source={source!r} must be one folder or .zip file: combine several data sets '
                "with type='ConcatDataset'."
            )
        if repeats < 1:
            raise ValueError(f'repeats={repeats} must be 1 or more.')
        self.source = os.path.expanduser(os.fspath(source))
        prefix = posixpath.normpath(prefix.strip('/'))
        self.prefix = '' if prefix == '.' else prefix
        self.with_label = with_label
        self.subset = subset
        self.part = check_part(part)
        self.repeats = repeats
        self.cache_side = cache_side
        self.least_side = least_side
        self.pixel_format = PixelFormat(channels, dtype, value_range, clip)
        self.pixel_format.check()
        if extensions is None:
            extensions = EXTENSIONS + (() if self.pixel_format.is_plain else ARRAYS)
        extensions = [extensions] if isinstance(extensions, str) else extensions
        self.extensions = tuple(extension.lower() for extension in extensions)
        self.max_unreadable = max_unreadable
        self.report_file = report_file and os.path.expanduser(report_file)
        self._cache: Path | None = None
        self._last: tuple[int, np.ndarray] | None = None
        super().__init__(**kwargs)
        if channels != 3 or dtype != 'uint8':
            check_transforms(self.pipeline.transforms, channels)
        if self.least_side is None and self.pipeline.transforms:
            self.least_side = getattr(self.pipeline.transforms[0], 'least_side', None)

    def load_data_list(self) -> list[dict]:
        """List the images in sorted order: one dict per file, as ``BaseDataset`` wants them."""
        if missing := missing_path(self.source):
            raise FileNotFoundError(
                f'source={missing!r} does not exist: give a folder or a .zip file of images.'
            )
        self.place = locate(self.source, self.prefix)
        found, aliases = list_files(*self.place)
        names = sorted(filter(self._is_image, found))
        others = self._count_others(found)
        if not names:
            raise FileNotFoundError(self._explain_emptiness(others))
        if others:
            print_log(
                f'{printable(self._path())}: {len(names):,} images are used; {others} are not read.'
                ' Convert them, or name their endings in extensions where Pillow has a plugin.',
                logger='current',
                level=logging.WARNING,
            )
        samples = [dict(name=name) for name in names]
        if self.with_label:
            self._check_aliases(names, aliases)
            for sample, label in zip(samples, self._labels(names), strict=True):
                sample['gt_label'] = label
        if self.part:
            groups = [(sample.get('gt_label'), sample['name']) for sample in samples]
            held = held_out_of_groups(groups)
            samples = [one for one in samples if (one['name'] in held) == (self.part == 'val')]
        if self.subset is not None:
            samples = self._choose(samples)
        self._check_indices(len(samples))
        for index, sample in enumerate(samples):
            sample['file_index'] = index
        self._state = torch.full((len(samples),), UNSEEN, dtype=torch.uint8).share_memory_()
        if self.cache_side:
            self._cache = self._make_cache([sample['name'] for sample in samples])
        return samples

    def _check_indices(self, total: int) -> None:
        """mmengine's lists of indices may have been written for another data set."""
        if isinstance(self._indices, Sequence):
            outside = [index for index in self._indices if not -total <= index < total]
            if outside:
                raise ValueError(
                    f'indices contain {len(outside)} numbers outside of the {total:,} images in '
                    f'{printable(self._path())}, such as {outside[0]}: they are for another data '
                    'set. Set indices=None, or give the folder by --data.'
                )

    def _make_cache(self, names: list[str]) -> Path:
        side = self.cache_side

        def decode(index: int) -> np.ndarray:
            return shrink_image(self.read_image(names[index], side), side)

        prints = fingerprints(*self.place, names)
        key = cache_key(names, prints, side=side, **self.pixel_format._asdict())
        return make_cache(key, len(names), decode, f'decoding {printable(self._path())}')

    def _choose(self, samples: list[dict]) -> list[dict]:
        """The part of the samples that ``subset`` names."""
        if isinstance(self.subset, str):
            return self._choose_listed(samples)
        if not 0 < self.subset <= 1:
            raise ValueError(f'subset={self.subset} must be a fraction above 0 and up to 1.')
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

    def _choose_listed(self, samples: list[dict]) -> list[dict]:
        path = Path(self.subset).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f'subset={self.subset!r} does not exist: give a text file with an image in each '
                'line, or a fraction such as 0.01.'
            )
        lines = path.read_bytes().decode('utf-8', 'surrogateescape').splitlines()
        wanted = {line.strip() for line in lines} - {''}
        by_name = defaultdict(set)
        for index, sample in enumerate(samples):
            for name in (sample['name'], sample['name'].split('/')[-1]):
                by_name[name].add(index)
        found = {name: by_name.get(name, ()) for name in wanted}
        for name, indices in found.items():  # a whole path is never ambiguous
            exact = [index for index in indices if samples[index]['name'] == name]
            found[name] = exact or indices
        missing = sorted(name for name, indices in found.items() if not indices)
        if missing:
            raise ValueError(
                f'subset={self.subset!r} names {len(wanted)} files, of which '
                f'{len(wanted) - len(missing)} are in {self._path()!r}; {missing[0]!r} is not one '
                'of them. Give the list that belongs to these images.'
            )
        ambiguous = sorted(name for name, indices in found.items() if len(indices) > 1)
        if ambiguous:
            places = sorted(samples[index]['name'] for index in found[ambiguous[0]])
            raise ValueError(
                f'subset={self.subset!r} names {ambiguous[0]!r}, which may be {places[0]!r} or '
                f'{places[1]!r}: write the path below {self._path()!r} instead of the bare name.'
            )
        return [samples[index] for index in sorted({index for (index,) in found.values()})]

    def _is_image(self, name: str) -> bool:
        return not is_hidden(name) and name.lower().endswith(self.extensions)

    def _count_others(self, names: list[str]) -> str:
        """Such as ``'3 .heic'``: files that are images but do not count as such."""
        endings = Counter(
            posixpath.splitext(name)[1].lower() for name in names if not is_hidden(name)
        )
        known = sorted({*EXTENSIONS, *OTHER_IMAGES} & set(endings))
        return ', '.join(
            f'{endings[ending]:,} {ending}'
            for ending in known
            if not ending.endswith(self.extensions)
        )

    def _check_aliases(self, names: list[str], aliases: dict[str, str]) -> None:
        """Raise ValueError if a class is left out because its folder is also that of another."""
        for alias, place in aliases.items():
            same_class = alias.split('/')[0] == place.split('/')[0]
            if not same_class and any(name.startswith(f'{place}/') for name in names):
                raise ValueError(
                    f'with_label=True takes classes from folders, but {self._path(alias)!r} and '
                    f'{self._path(place)!r} are the same folder: remove one of the links.'
                )

    def _labels(self, names: list[str]) -> list[int]:
        folders = [name.split('/')[0] if '/' in name else None for name in names]
        if None in folders:
            raise ValueError(
                'with_label=True takes the class of an image from its first-level folder under '
                f'{self._path()!r}, but {names[folders.index(None)]!r} is in none. Move it into '
                'a folder named after its class, or set with_label=False.'
            )
        is_single = len(set(folders)) == 1 and 'classes' not in self._metainfo
        if is_single and all(name.count('/') > 1 for name in names):
            prefix = '/'.join(filter(None, [self.prefix, folders[0]]))
            raise ValueError(
                f'with_label=True finds a single class in {self._path()!r}, {folders[0]!r}, which '
                f'holds folders only. Set prefix={prefix!r} to take those as classes, or '
                f'metainfo=dict(classes=[{folders[0]!r}]) to take all images as one class.'
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

    def _explain_emptiness(self, others: str) -> str:
        hint = 'Point source at the images, or name their endings in extensions.'
        if others:
            hint = f'There are {others}, which are not read: convert them to JPEG or PNG.'
            if set(ARRAYS) & {posixpath.splitext(other)[1] for other in others.split(', ')}:
                hint = f'There are {others}: state channels and value_range to read arrays.'
        elif shards := [name for name in list_files(*self.place)[0] if name.endswith(SHARDS)]:
            folders = sorted({posixpath.dirname(name) for name in shards})
            hint = f'There are shards in {folders[:10]}: point source or prefix at one of these.'
        elif self.prefix:
            names, _ = list_files(locate(self.source)[0])
            inner = f'/{self.prefix}/'
            nested = sorted(
                {name[: name.find(inner) + len(inner) - 1] for name in names if inner in name}
            )
            present = nested or sorted({name.split('/')[0] for name in names})
            place = 'deeper inside' if nested else 'at the top'
            hint = f'Is prefix={self.prefix!r} wrong? There is {present[:10]} {place}. {hint}'
        return (
            f'no image in {self._path()!r} (looked for {", ".join(self.extensions)} in all '
            f'sub-folders). {hint}'
        )

    def _path(self, name: str = '') -> str:
        return '/'.join(filter(None, [self.source, self.prefix, name]))

    def prepare_data(self, idx: int):
        """The idx-th sample after the pipeline, or another in place of an unreadable one."""
        attempts = min(self.max_refetch + 1, ENOUGH_TO_JUDGE)
        sample = self.get_data_info(idx)
        if self.load(sample):
            return self.pipeline(sample)
        random = np.random.default_rng(abs(idx))
        for _ in range(attempts - 1):
            sample = self.get_data_info(int(random.integers(len(self))))
            if self.load(sample):
                return self.pipeline(sample)
        raise RuntimeError(
            f'no readable image in {attempts} attempts from {self._path()!r}: check that '
            'the disk is still mounted.'
        )

    def get_cat_ids(self, idx: int) -> list[int]:
        """The class of an image in a list, from which ``ClassBalancedDataset`` counts classes."""
        return [self.get_data_info(idx)['gt_label']]

    def load(self, sample: dict) -> bool:
        """Put the decoded image into the sample, or remember that it is unreadable."""
        name, index = sample.pop('name'), sample.pop('file_index')
        state = self._state.numpy()
        if state[index] == UNREADABLE:
            return False
        try:
            image = self._decode(name, index)
        except MisfitError:
            raise
        except Exception as error:  # Pillow and zipfile know a dozen ways to refuse a file
            state[index] = UNREADABLE
            self._report(self._path(name), error)
            return False
        state[index] = READABLE
        size = image.shape[:2]
        sample.update(img=image, img_path=self._path(name), img_shape=size, ori_shape=size)
        return True

    def _decode(self, name: str, index: int) -> np.ndarray:
        if self._cache:
            return open_cache(self._cache).load(index)
        if self._last and self._last[0] == index:
            return self._last[1].copy()
        image = self.read_image(name, self.least_side)
        if self.repeats > 1:
            self._last = index, image.copy()  # a transform may write into what it gets
        return image

    def read_image(self, name: str, least_side: int | None = None) -> np.ndarray:
        """Read and decode a file.

        Raises:
            MisfitError: if it contradicts what is stated, or nothing is stated and no image fits.
        """
        content = read_file(*self.place, name)
        try:
            return decode_image(content, least_side, self.pixel_format)
        except MisfitError as error:
            others_fit = self.cache_side or bool((self._state == READABLE).any())
            if self.pixel_format.is_plain and others_fit:
                raise ValueError(str(error)) from error  # one odd file among ordinary ones
            raise MisfitError(f'{printable(self._path(name))}: {error}.') from error

    def _report(self, path: str, error: Exception) -> None:
        tried = int((self._state != UNSEEN).sum())
        unreadable = int((self._state == UNREADABLE).sum())
        path, reason = printable(path), printable(explain(error))
        print_log(
            f'Unreadable image skipped, number {unreadable} of {tried} read so far: {path} '
            f'({reason})',
            logger='current',
            level=logging.WARNING,
        )
        if self.report_file:
            with open(self.report_file, 'a', encoding='utf-8') as report:
                report.write(f'{path}\t{reason}\n')
        total = len(self._state)
        judged = tried if tried >= ENOUGH_TO_JUDGE else total
        if unreadable > self.max_unreadable * judged:
            raise RuntimeError(
                f'{unreadable} of {judged} images in {printable(self._path())} are unreadable, '
                f'more than max_unreadable={self.max_unreadable:.0%}; the last was {path} '
                f'({reason}). Repair or remove them, or raise max_unreadable.'
            )


def check_transforms(transforms: Sequence, channels: int) -> None:
    """Raise ValueError if a transform, also a nested one, takes 8-bit images of three colours only.

    What reads three colours or Pillow images fails on others, or treats them wrongly.
    """
    for transform in transforms:
        backend, remedy = getattr(transform, 'backend', None), None
        interpolation = getattr(transform, 'interpolation', None)
        if isinstance(transform, EIGHT_BIT_COLOURS):
            remedy = 'leave it out, or use mmmask.IntensityJitter'
        elif backend == 'pillow':
            remedy = "use mmmask.RandomResizedCrop, Resize or ResizeEdge, or backend='cv2'"
        elif backend == 'cv2' and channels > 4 and interpolation in ('area', 'lanczos'):
            remedy = "use interpolation='bilinear' or 'bicubic'"
        if remedy:
            raise ValueError(
                f'{type(transform).__name__} in the pipeline does not take the images that '
                f'channels={channels} and dtype describe: {remedy}.'
            )
        nested = getattr(transform, 'transforms', ())
        check_transforms(getattr(nested, 'transforms', nested), channels)


def is_hidden(name: str) -> bool:
    """Whether a part of a path is hidden, or made by macOS in its archives."""
    return any(part.startswith('.') or part == '__MACOSX' for part in name.split('/'))


def printable(text: str) -> str:
    """A text in one line that any file can hold: tabs, newlines and stray bytes are escaped."""
    return ''.join(
        part if part.isprintable() else part.encode('unicode_escape').decode() for part in text
    )
