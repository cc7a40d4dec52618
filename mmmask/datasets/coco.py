"""Reading annotation files in the layout of COCO, with a check of what they hold."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SHOWN = 5  # problems listed in one message


def read_instances(path: str | os.PathLike) -> dict:
    """A COCO JSON of instance masks -> its content, whose entries are complete and fit together.

    Afterwards each image has ``id``, ``file_name``, ``height`` and ``width``; each category has
    ``id``; each annotation has ``id``, the ``image_id`` of an image, the ``category_id`` of a
    category, and a ``segmentation`` of polygons or run lengths of the size of the image.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file, and of up to five entries what is wrong and how to fix it.
    """
    path = Path(path).expanduser()
    try:
        content = json.loads(path.read_text(encoding='utf-8-sig'))
    except ValueError as error:  # not JSON, or not UTF-8
        raise ValueError(f'{path} is not a JSON file ({error}): export it again.') from error
    lists = ('images', 'annotations', 'categories')
    if not isinstance(content, dict) or not all(
        content.get(name) and isinstance(content[name], list) for name in lists
    ):
        raise ValueError(
            f'{path} holds no images with annotations in the layout of COCO: it needs the lists '
            f'{", ".join(map(repr, lists))}, none of them empty.'
        )
    problems = list(_problems(content))
    if problems:
        more = f'\n  and {len(problems) - SHOWN} more' if len(problems) > SHOWN else ''
        raise ValueError(
            f'{path} cannot be used:' + ''.join(f'\n  {line}' for line in problems[:SHOWN]) + more
        )
    return content


def _problems(content: dict) -> Iterator[str]:
    images, categories = {}, {}
    for kind, found in (('image', images), ('category', categories)):
        for name, entry in _entries(content, kind):
            key = _identity(entry, 'id')
            if key is None:
                yield f"{name}: 'id' must be an integer or a string: add it."
            elif key in found:
                yield f"{name}: 'id' occurs twice: give each {kind} an id of its own."
            else:
                found[key] = entry
    for name, image in _entries(content, 'image'):
        if not isinstance(image.get('file_name'), str) or not image['file_name']:
            yield f"{name}: 'file_name' is {image.get('file_name')!r}: name the file of the image."
        for key in ('height', 'width'):
            if not _is_size(image.get(key)):
                yield f'{name}: {key!r} is {image.get(key)!r}: add the pixels of the image.'
    for name, annotation in _entries(content, 'annotation'):
        if _identity(annotation, 'id') is None:
            yield f"{name}: 'id' must be an integer or a string: add it."
        for key, kind, known in (
            ('image_id', 'image', images),
            ('category_id', 'category', categories),
        ):
            value = _identity(annotation, key)
            if value not in known:
                alike = [other for other in known if str(other) == str(value)]
                remedy = (
                    f'write it as in that entry, {alike[0]!r}'
                    if alike
                    else f'add the {kind} or remove the annotation'
                )
                yield f'{name}: no {kind} has the {key!r} {annotation.get(key)!r}: {remedy}.'
        image = images.get(_identity(annotation, 'image_id'), {})
        if _is_size(image.get('height')) and _is_size(image.get('width')):
            size = [image['height'], image['width']]
            problem = _mask_problem(annotation.get('segmentation'), size)
            if problem:
                yield f"{name}: 'segmentation' {problem}"


def _entries(content: dict, kind: str) -> Iterator[tuple[str, dict]]:
    """Each entry with the name that messages give it."""
    key = {'category': 'categories'}.get(kind, f'{kind}s')
    for index, entry in enumerate(content[key]):
        known = isinstance(entry, dict) and 'id' in entry
        yield (
            f'{kind} {entry["id"]!r}' if known else f'{key}[{index}]',
            entry if isinstance(entry, dict) else {},
        )


def _identity(entry: dict, key: str) -> int | str | None:
    value = entry.get(key)
    return value if isinstance(value, int | str) else None


def _is_size(value) -> bool:
    return isinstance(value, int) and value > 0


def _mask_problem(segmentation, size: list[int]) -> str | None:
    """What is wrong with a mask of an image of ``size`` (height, width), with the remedy."""
    if not segmentation:
        return (
            'holds no mask: draw one or remove the annotation; a box alone is not enough for a map.'
        )
    if isinstance(segmentation, list):
        if all(map(_is_polygon, segmentation)):
            return None
        return (
            'must be a list of polygons of at least three points, '
            '[[x1, y1, x2, y2, x3, y3, ...], ...]: write it so or remove the annotation.'
        )
    counts = segmentation.get('counts') if isinstance(segmentation, dict) else None
    if not isinstance(counts, list | str):
        return (
            "is neither a list of polygons nor run lengths with 'size' and 'counts': export again."
        )
    if segmentation.get('size') != size:
        return (
            f'has run lengths of the size {segmentation.get("size")}, and the image has {size} '
            '(height, width): correct whichever is wrong.'
        )
    counts = decompress(counts) if isinstance(counts, str) else counts
    whole = all(isinstance(count, int) and count >= 0 for count in counts)
    if not whole or sum(counts) != size[0] * size[1]:
        return f'has run lengths that do not add up to {size[0]} x {size[1]}: export again.'
    return None


def _is_polygon(points) -> bool:
    if not isinstance(points, list) or len(points) < 6 or len(points) % 2:
        return False
    try:
        return bool(np.isfinite(np.asarray(points, float)).all())
    except (TypeError, ValueError):
        return False


def decompress(text: str) -> list[int]:
    """COCO's compressed run lengths -> the run lengths.

    A character holds five bits, the lowest first; from the fourth number on, a number is the
    difference to the one two before it. pycocotools reads these too, but past the end of its memory
    if they do not add up.
    """
    counts, value, shift = [], 0, 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:  # the last character of a number; its highest bit is the sign
            value -= (bits & 16) << (shift - 4)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts
