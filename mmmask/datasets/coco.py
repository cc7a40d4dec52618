"""Reading annotation files in the layout of COCO, with a check of what they hold."""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

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
    content = _read(path)
    refuse(path, _problems(content))
    return content


def read_objects(path: str | os.PathLike) -> tuple[dict, bool]:
    """A COCO JSON of boxes, with or without masks -> its content and whether there are masks.

    Entries are complete as after :func:`read_instances`. Each category also has a name of its own,
    and each annotation a ``bbox`` of four numbers, (x, y, width, height) in pixels.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file, and of up to five entries what is wrong and how to fix it; also
            if only some of the annotations have masks.
    """
    content = _read(path)
    annotations = [one for one in content['annotations'] if isinstance(one, dict)]
    masked = [one for one in annotations if one.get('segmentation')]
    if 0 < len(masked) < len(annotations):
        bare = next(one for one in annotations if not one.get('segmentation'))
        raise ValueError(
            f'{path}: {len(annotations) - len(masked)} of {len(annotations)} annotations have a '
            f"box but no mask in 'segmentation', such as annotation {bare.get('id')!r}: draw these "
            "masks, or remove 'segmentation' everywhere to detect boxes alone."
        )
    refuse(path, _problems(content, bool(masked)), _box_problems(content))
    return content, bool(masked)


def check_objects(path: str | os.PathLike, content: dict) -> None:
    """Refuse boxes with which mmdet's ``CocoDataset`` would fail, or of which it would drop some.

    Masks are not looked at: mmdet ignores those that are no polygons.

    Raises:
        ValueError: naming the file, and of up to five entries what is wrong and how to fix it.
    """
    refuse(path, _problems(content, False), _box_problems(content), _area_problems(content))


def complete(content: dict, names: Mapping[int | str, str]) -> dict:
    """What pycocotools needs and annotation tools leave out: numeric ids, areas and ``iscrowd``.

    Args:
        content: of :func:`read_objects`. Boxes without area are left out, as detectors do.
        names: file names by the ids of the images to keep.
    """
    images = {image['id']: image for image in content['images'] if image['id'] in names}
    numbers = {key: number for number, key in enumerate(images, 1)}
    categories = {one['id']: number for number, one in enumerate(content['categories'], 1)}
    kept = (one for one in content['annotations'] if one['image_id'] in images)
    return dict(
        images=[
            dict(image, id=numbers[key], file_name=names[key]) for key, image in images.items()
        ],
        categories=[dict(one, id=categories[one['id']]) for one in content['categories']],
        annotations=[
            dict(
                one,
                id=number,
                image_id=numbers[one['image_id']],
                category_id=categories[one['category_id']],
                area=one.get('area') or one['bbox'][2] * one['bbox'][3],
                iscrowd=int(bool(one.get('iscrowd'))),
            )
            for number, one in enumerate((one for one in kept if min(one['bbox'][2:]) > 0), 1)
        ],
    )


def _read(path: str | os.PathLike) -> dict:
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
    return content


def refuse(path: str | os.PathLike, *checks: Iterable[str], use: str = 'used') -> None:
    """Raise ValueError with the first problems of a file, and the number of the others."""
    problems = [problem for check in checks for problem in check]
    if problems:
        more = f'\n  and {len(problems) - SHOWN} more' if len(problems) > SHOWN else ''
        raise ValueError(
            f'{path} cannot be {use}:' + ''.join(f'\n  {line}' for line in problems[:SHOWN]) + more
        )


def _box_problems(content: dict) -> Iterator[str]:
    names = set()
    for name, category in _entries(content, 'category'):
        if not isinstance(category.get('name'), str) or category['name'] in names:
            yield f"{name}: 'name' is {category.get('name')!r}: give each category its own name."
        names.add(str(category.get('name')))
    for name, annotation in _entries(content, 'annotation'):
        box = annotation.get('bbox')
        if not isinstance(box, list) or len(box) != 4 or not _are_finite(box):
            yield f"{name}: 'bbox' is {box!r}: write [x, y, width, height] in pixels."


def _area_problems(content: dict) -> Iterator[str]:
    for name, annotation in _entries(content, 'annotation'):
        if not _are_finite([annotation.get('area')]):
            yield (
                f"{name}: 'area' is {annotation.get('area')!r}: add the pixels that the object "
                'covers, or give the file to --data, which computes them.'
            )


def _problems(content: dict, masks: bool = True) -> Iterator[str]:
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
        if masks and _is_size(image.get('height')) and _is_size(image.get('width')):
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
    return (
        isinstance(points, list)
        and len(points) >= 6
        and len(points) % 2 == 0
        and (_are_finite(points))
    )


def _are_finite(numbers: list) -> bool:
    try:
        return all(map(math.isfinite, numbers))
    except (TypeError, OverflowError):  # not a number, or too large for a float
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
