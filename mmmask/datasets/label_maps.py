"""Images with label maps for semantic segmentation: a number or a colour in each pixel."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

import numpy as np
from mmengine.dataset import BaseDataset
from PIL import Image

from mmmask.registry import DATASETS, TRANSFORMS

from .image_folder import EXTENSIONS, is_hidden
from .listing import list_files
from .parts import check_part, held_out

IGNORED = 255  # the class number of pixels that neither train nor count, in all of mmseg
MAPS = ('.png', '.tif', '.tiff', '.bmp', '.gif')
TABLE = 'a text file with a line "VALUE NAME" or "RED GREEN BLUE NAME" for each class'


@DATASETS.register_module()
class LabelMapFolder(BaseDataset):
    """Images of a folder and the label maps of the same names in another, for mmseg's models.

    The ending of a name does not count, in whatever case: ``x/a.JPG`` belongs to ``x/a.png``.

    Args:
        images: folder of images, searched with all sub-folders.
        labels: folder of label maps, PNG or another lossless format.
        part: ``'train'`` or ``'val'``, to divide the images by names, see :func:`held_out`.
        **kwargs: ``pipeline``, ``metainfo`` and the rest of mmengine's ``BaseDataset``.

    Raises:
        FileNotFoundError: if a folder is missing, or an image has no label map.
        ValueError: if two files of a folder have the same name but for the ending.
    """

    def __init__(
        self,
        images: str | os.PathLike,
        labels: str | os.PathLike,
        part: str | None = None,
        **kwargs,
    ) -> None:
        self.images, self.labels = images, labels
        self.part = check_part(part)
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """One dict per image, as mmseg's transforms want them."""
        pairs = pair_label_maps(self.images, self.labels)
        held = held_out(pairs) if self.part else set()
        return [
            dict(img_path=image, seg_map_path=label, reduce_zero_label=False, seg_fields=[])
            for name, (image, label) in pairs.items()
            if self.part is None or (name in held) == (self.part == 'val')
        ]


def pair_label_maps(
    images: str | os.PathLike, labels: str | os.PathLike
) -> dict[str, tuple[str, str]]:
    """Paths of each image and its label map by their common name, in sorted order.

    Raises:
        FileNotFoundError, ValueError: see :class:`LabelMapFolder`.
    """
    found, maps = _by_name(images, EXTENSIONS, 'images'), _by_name(labels, MAPS, 'label maps')
    lacking = sorted(found.keys() - maps.keys())
    if lacking:
        raise FileNotFoundError(
            f'{len(lacking)} of {len(found)} images in {images} have no label map in {labels}, '
            f'such as {found[lacking[0]]}: a map has the name of its image with another ending '
            f'({", ".join(MAPS)}). Add the maps or remove the images.'
        )
    return {name: (found[name], maps[name]) for name in sorted(found)}


def _by_name(folder: str | os.PathLike, endings: Sequence[str], what: str) -> dict[str, str]:
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder} is not a folder: give the folder of the {what}.')
    paths: dict[str, str] = {}
    for name in sorted(list_files(str(folder))[0]):
        if is_hidden(name) or not name.lower().endswith(tuple(endings)):
            continue
        key = PurePath(name).with_suffix('').as_posix()
        if key in paths:
            raise ValueError(
                f'{paths[key]} and {folder / name} have the same name but for the ending: remove '
                'or rename one of them.'
            )
        paths[key] = str(folder / name)
    if not paths:
        raise FileNotFoundError(f'{folder} holds no {what}: none of its files ends in {endings}.')
    return paths


@TRANSFORMS.register_module()
class LoadLabelMap:
    """Reads a label map and replaces its numbers or colours by those of the classes.

    In a palette image the number counts, unless the table has colours. The result, ``gt_seg_map``
    (H, W) uint8, has 255 in the pixels to ignore, which is ``ignore_index`` of all heads and
    metrics of mmseg.

    Args:
        table: a row ``(value, class)`` or ``(red, green, blue, class)`` for each value that occurs.

    Raises:
        ValueError: on reading, naming the file, for a value that is not in the table, a map of
            another size than its image, or colours where the table has numbers.
    """

    def __init__(self, table: Sequence[Sequence[int]]) -> None:
        rows = np.asarray(table)
        self.in_colour = rows.shape[1] == 4
        codes = pack(rows[:, :3]) if self.in_colour else rows[:, 0]
        order = np.argsort(codes)
        self.codes, self.classes = codes[order], rows[order, -1].astype(np.uint8)

    def __call__(self, results: dict) -> dict:
        path = results['seg_map_path']
        codes = read_codes(path, self.in_colour)
        size = tuple(results.get('ori_shape', codes.shape)[:2])
        if codes.shape != size:
            raise ValueError(
                f'{path} has {codes.shape} pixels and its image {size} (height, width): export the '
                'map at the size of the image.'
            )
        places = np.searchsorted(self.codes, codes).clip(max=len(self.codes) - 1)
        unknown = np.unique(codes[self.codes[places] != codes])
        if unknown.size:
            raise ValueError(
                f'{path} contains {describe_codes(unknown, self.in_colour)}, which no class has: '
                f'add it to the table of classes, with the name "ignore" if it is void.'
            )
        results['gt_seg_map'] = self.classes[places]
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results


def pack(colours: np.ndarray) -> np.ndarray:
    """(..., 3) red, green, blue -> (...) one number for each colour."""
    return colours.astype(np.int64) @ np.array([65536, 256, 1])


def describe_codes(codes: np.ndarray, in_colour: bool) -> str:
    """Such as ``'the values 7, 9'``, at most five of them."""
    shown = [
        f'{code >> 16} {code >> 8 & 255} {code & 255}' if in_colour else str(code)
        for code in map(int, codes[:5])
    ]
    more = ', …' if len(codes) > 5 else ''
    return f'the {"colour" if in_colour else "value"}{"s" * (len(codes) > 1)} ' + (
        ', '.join(shown) + more
    )


def read_codes(path: str | os.PathLike, in_colour: bool = False) -> np.ndarray:
    """A label map -> (H, W) its numbers, or its colours as :func:`pack` gives them.

    A map of three equal channels counts as numbers. Opacity must be complete.

    Raises:
        ValueError: naming the file, if it cannot be decoded, or is in colour but numbers are asked
            for.
    """
    try:
        with Image.open(path) as image:
            image.load()
    except Exception as error:  # Pillow raises many kinds of errors
        raise ValueError(f'{path} is not a readable label map: {error}') from error
    if image.mode in ('LA', 'RGBA', 'PA'):
        if image.getchannel('A').getextrema()[0] < 255:
            raise ValueError(
                f'{path} is partly transparent, so its values are unclear: export it opaque.'
            )
        image = image.convert(dict(LA='L', RGBA='RGB', PA='P')[image.mode])
    if in_colour:
        return pack(np.asarray(image.convert('RGB')))
    codes = np.asarray(image)
    if codes.ndim == 3:
        if (codes != codes[..., :1]).any():
            raise ValueError(f'{path} is in colour: name the class of each colour in {TABLE}.')
        codes = codes[..., 0]
    if codes.dtype.kind == 'f':
        raise ValueError(f'{path} holds fractions ({codes.dtype}): export whole numbers.')
    return codes.astype(np.int64)


def read_table(path: str | os.PathLike) -> tuple[list[str], list[list[int]]]:
    """A text file of classes -> their names, and the ``table`` of :class:`LoadLabelMap`.

    Each line is ``VALUE NAME`` or ``RED GREEN BLUE NAME``. Lines of the same name are one class,
    and the name ``ignore`` marks pixels that are ignored in training and evaluation. ``#`` begins a
    comment.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the line, if it has another form or repeats a value.
    """
    names, rows, seen = [], [], {}
    text = Path(path).expanduser().read_text(encoding='utf-8-sig')
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition('#')[0].replace(',', ' ').split()
        if not words:
            continue
        width = next((i for i, word in enumerate(words) if not word.isdigit()), len(words))
        if width not in (1, 3) or width == len(words) or (rows and len(rows[0]) != width + 1):
            raise ValueError(
                f'{path}:{number}: {line.strip()!r} must be "VALUE NAME", such as '
                '"0 background", or "RED GREEN BLUE NAME", in the same form as the lines before.'
            )
        value, name = tuple(map(int, words[:width])), ' '.join(words[width:])
        if seen.setdefault(value, name) != name:
            raise ValueError(
                f'{path}:{number}: {" ".join(words[:width])} already stands for {seen[value]!r}.'
            )
        if name != 'ignore' and name not in names:
            names.append(name)
        rows.append([*value, IGNORED if name == 'ignore' else names.index(name)])
    if not names or len(names) > IGNORED:
        raise ValueError(f'{path} names {len(names)} classes: name 1 to {IGNORED} in {TABLE}.')
    return names, rows


def find_values(paths: Iterable[str]) -> tuple[list[str], list[list[int]]]:
    """Label maps without a table -> names of the classes, and the table that they imply.

    The numbers must be 0, 1, 2, ... without a gap; 255 is ignored. The names are the numbers.

    Raises:
        ValueError: if the maps have other numbers.
    """
    values: set[int] = set()
    for path in paths:
        values |= set(np.unique(read_codes(path)).tolist())
    count = len(values - {IGNORED})
    if values == {0, IGNORED}:
        raise ValueError(
            'the label maps contain only 0 and 255, and without a table 255 is ignored: name both '
            f'in {TABLE}, such as "0 background" and "255 object".'
        )
    if values - {IGNORED} != set(range(count)):
        raise ValueError(
            f'the label maps contain {describe_codes(np.array(sorted(values)), False)}, and '
            'without a table the numbers must be 0, 1, 2, ... without a gap: name the classes in '
            f'{TABLE}; the name "ignore" stands for void.'
        )
    table = [[value, value] for value in sorted(values | {IGNORED})]
    return [str(value) for value in range(count)], table
