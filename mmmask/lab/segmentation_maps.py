"""Semantic segmentation maps from instance masks."""

import os
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from mmmask.datasets.coco import read_instances
from mmmask.outputs import OutputFolder, safe_name

MOST_CATEGORIES = 254  # an 8-bit map has 256 values: 0 is background, 255 means "ignore"


def write_segmentation_maps(annotations: str | os.PathLike, out: str | os.PathLike) -> int:
    """COCO JSON -> one PNG per image in ``out``; returns their number.

    Pixels hold 0 for the background and 1, 2, ... for the categories in the order of the file.
    Where instances overlap, the smaller one is in front. Polygons and run lengths are read.

    A map is named after its image, in the same sub-folder of ``out``; see
    :func:`mmmask.outputs.safe_name` for absolute names. The tool replaces its own outputs only.

    Raises:
        FileNotFoundError: if there is no such file of annotations.
        FileExistsError: if a map would replace a file that mmmask did not write.
        ImportError: if pycocotools is missing.
        ValueError: if the annotations are incomplete or contradict each other, if two images would
            get the same map, or if there are more than 254 categories.
    """
    try:
        from pycocotools import mask as run_lengths
        from pycocotools.coco import COCO
    except ImportError as error:
        raise ImportError(
            'masks are read by pycocotools, which is not installed: pip install pycocotools'
        ) from error
    content = read_instances(annotations)
    if len(content['categories']) > MOST_CATEGORIES:
        raise ValueError(
            f'{annotations} has {len(content["categories"])} categories, and a map of 8 bits holds '
            f'at most {MOST_CATEGORIES}: merge some of them.'
        )
    values = {category['id']: i for i, category in enumerate(content['categories'], 1)}
    output, names = OutputFolder(out), []
    for image in content['images']:
        owner = f'the map of image {image["id"]!r} ({image["file_name"]!r})'
        try:
            names.append(map_name(image['file_name']))
            output.claim(names[-1], owner)
        except ValueError as error:
            raise ValueError(f'{annotations}: image {image["id"]!r}: {error}') from error
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    for name, image in zip(names, track(content['images'], f'writing {out}'), strict=True):
        semantic = np.zeros((image['height'], image['width']), np.uint8)
        found = [(coco.annToRLE(one), one) for one in coco.imgToAnns[image['id']]]
        for mask, annotation in sorted(found, key=lambda pair: -int(run_lengths.area(pair[0]))):
            semantic[run_lengths.decode(mask) > 0] = values[annotation['category_id']]
        output.save_image(name, Image.fromarray(semantic))
    return len(names)


def map_name(file_name: str) -> str:
    """``'x/a.jpg'`` -> ``'x/a.png'``; what follows a dot is kept unless it is an image format."""
    path = Path(safe_name(file_name))
    if path.suffix.lower() in Image.registered_extensions():
        path = path.with_suffix('')
    return f'{path.as_posix()}.png'
