"""Images of any folder, made small enough to train on in minutes."""

import io
import os
import zipfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from rich.progress import track

from mmmask.datasets import ImageFolder
from mmmask.outputs import MARK, OutputFolder

MAX_TRAIN, MAX_VAL = 4000, 1000
HELD_OUT = 5  # one image in five is held out
SHORT_SIDE = 144  # a fifth of such an image, the smallest crop, still has about 64 x 64 px


class DemoData(NamedTuple):
    """A zip archive of small images under ``train/`` and ``val/``, by class where there are any.

    ``classes`` is empty if the folders give no labels, or if no image could be held out.
    """

    archive: Path
    num_train: int
    num_val: int
    num_found: int
    classes: list[str]


def prepare_images(source: str | os.PathLike, archive: Path, seed: int = 0) -> DemoData:
    """Shrink a sample of the images of a folder or zip archive into a new archive.

    If there are folders ``train`` and ``val``, they are the split. Otherwise one image in five of
    each class is held out. Classes are the first-level folders, if every image is in one and there
    are two or more.

    Raises:
        FileNotFoundError: if there is no image.
        FileExistsError: if ``archive`` exists and was not written by mmmask.
        RuntimeError: if more than half of the images are unreadable.
    """
    dataset = ImageFolder(source, least_side=2 * SHORT_SIDE)
    names = [dataset.get_data_info(index)['name'] for index in range(len(dataset))]
    parts = split_names(names, np.random.default_rng(seed))
    classes = sorted({label for part in parts.values() for _, label in part} - {''})

    def shrink(index: int) -> bytes | None:
        sample = dataset.get_data_info(index)
        return encode_small(sample['img']) if dataset.load(sample) else None

    counts = dict.fromkeys(parts, 0)
    with (
        OutputFolder(archive.parent).file(archive.name) as draft,
        zipfile.ZipFile(draft, 'w') as output,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        output.comment = MARK.encode()
        for part, images in parts.items():
            contents = pool.map(shrink, [index for index, _ in images])
            title = f'reading {part} images'
            for number, (content, (_, label)) in enumerate(
                zip(track(contents, title, total=len(images)), images, strict=True)
            ):
                if content is not None:
                    output.writestr(
                        '/'.join(filter(None, [part, label, f'{number:06}.jpg'])), content
                    )
                    counts[part] += 1
    if not counts['train']:
        raise RuntimeError(f'{source}: none of {len(parts["train"])} images could be read.')
    if not counts['val']:
        classes = []
    return DemoData(archive, counts['train'], counts['val'], len(names), classes)


def split_names(names: list[str], random: np.random.Generator) -> dict[str, list[tuple[int, str]]]:
    """Names with slashes -> (index, label) of the images of ``'train'`` and ``'val'``.

    Labels are empty strings if the folders give none.
    """
    tops = {name.split('/')[0] for name in names if '/' in name}
    if {'train', 'val'} <= tops:
        given = {
            part: {i: n[len(part) + 1 :] for i, n in enumerate(names) if n.startswith(f'{part}/')}
            for part in ('train', 'val')
        }
    else:
        given = {'all': dict(enumerate(names))}
    relative = [name for part in given.values() for name in part.values()]
    folders = {name.split('/')[0] if '/' in name else None for name in relative}
    is_labelled = None not in folders and len(folders) > 1
    images = {
        part: [(i, n.split('/')[0] if is_labelled else '') for i, n in found.items()]
        for part, found in given.items()
    }
    if 'all' in images:
        images = _hold_out(images['all'], random)
    if not images['val']:
        images = {part: [(i, '') for i, _ in found] for part, found in images.items()}
    sizes = dict(train=MAX_TRAIN, val=MAX_VAL)
    return {part: _sample(images[part], size, random) for part, size in sizes.items()}


def _hold_out(images: list[tuple[int, str]], random: np.random.Generator) -> dict[str, list]:
    by_label = defaultdict(list)
    for image in images:
        by_label[image[1]].append(image)
    parts = dict(train=[], val=[])
    for members in by_label.values():
        order = random.permutation(len(members))
        num_val = len(members) // HELD_OUT
        parts['val'] += [members[i] for i in order[:num_val]]
        parts['train'] += [members[i] for i in order[num_val:]]
    return parts


def _sample(images: list, size: int, random: np.random.Generator) -> list:
    chosen = random.permutation(len(images))[:size]
    return [images[i] for i in np.sort(chosen)]


def encode_small(image: np.ndarray) -> bytes:
    """(H, W, 3) BGR -> JPEG whose short side is at most ``SHORT_SIDE``."""
    picture = Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
    scale = SHORT_SIDE / min(picture.size)
    if scale < 1:
        picture = picture.resize(
            [max(1, round(side * scale)) for side in picture.size], Image.BICUBIC
        )
    buffer = io.BytesIO()
    picture.save(buffer, 'JPEG', quality=95)
    return buffer.getvalue()
