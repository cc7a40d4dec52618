"""Semantic segmentation maps from instance masks."""

import json
import os
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track


def write_segmentation_maps(annotations: str | os.PathLike, out: str | os.PathLike) -> int:
    """COCO JSON -> one PNG per image in ``out``; returns their number.

    Pixels hold 0 for the background and 1, 2, ... for the categories in the order of the file.
    Where instances overlap, the smaller one is in front. Polygons and run lengths are read.

    Raises:
        FileNotFoundError: if there is no such file of annotations.
        ImportError: if pycocotools is missing.
        ValueError: if the file holds no images with annotations, or more than 255 categories.
    """
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise ImportError(
            'masks are read by pycocotools, which is not installed: pip install pycocotools'
        ) from error
    content = json.loads(Path(annotations).read_text())
    if not content.get('images') or not content.get('annotations'):
        raise ValueError(f'{annotations} holds no images with annotations in the layout of COCO.')
    if len(content['categories']) > 255:
        raise ValueError(f'{annotations} has more than 255 categories, which an 8-bit map holds.')
    values = {category['id']: i for i, category in enumerate(content['categories'], 1)}
    coco, out = COCO(), Path(out)
    coco.dataset = content
    coco.createIndex()
    out.mkdir(parents=True, exist_ok=True)
    for image in track(content['images'], f'writing {out}'):
        found = coco.imgToAnns[image['id']]
        semantic = np.zeros((image['height'], image['width']), np.uint8)
        for annotation in sorted(found, key=lambda one: -one['area']):
            semantic[coco.annToMask(annotation) > 0] = values[annotation['category_id']]
        path = out / Path(image['file_name']).with_suffix('.png')
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(semantic).save(path)
    return len(content['images'])
