"""Annotation files and label maps of mmdet's and mmseg's data sets, before loaders are built."""

import inspect
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import ParseError, parse

import numpy as np
from mmengine.config import Config

from mmmask.datasets.coco import check_objects
from mmmask.datasets.label_maps import TABLE
from mmmask.datasets.listing import list_files

from .classes import LISTING
from .config_nodes import Node, find_nodes
from .own_data import refuse_other_classes

NUM_MAPS = 8  # label maps of a data set that are opened
NUM_XML = 200  # files of Pascal VOC that are opened


def check_data(cfg: Config) -> None:
    """Compare annotation files and label maps with classes, pipeline and network of a config.

    mmdet drops objects of classes that it does not know, and mmseg trains without pixels of 255.

    Raises:
        ValueError: with a line for each problem, which names the key, the value and the remedy.
    """
    problems = []
    for node in find_nodes(dict(cfg.items())):
        bases = {base.__name__ for base in inspect.getmro(node.built)} if inspect.isclass(
            node.built
        ) else set()  # fmt: skip
        if 'CocoDataset' in bases:
            problems += _coco(node, cfg)
        elif 'XMLDataset' in bases and _reads_as(node, 'XMLDataset'):
            problems += _xml(node)
        elif 'BaseSegDataset' in bases:
            problems += _maps(node, cfg)
        elif 'ImageFolder' in bases and isinstance(node.argument('indices'), list | tuple):
            problems += _indices(node)
    if problems:
        lines = ''.join(f'\n  - {problem}' for problem in dict.fromkeys(problems))
        raise ValueError(f'The data do not fit the config:{lines}')


def _indices(node: Node) -> Iterator[str]:
    """Indices that were written for another data set."""
    keys = (*LISTING, 'with_label', 'part', 'subset', 'indices')
    try:
        node.built(**{key: node.config[key] for key in keys if key in node.config})
    except ValueError as error:
        yield f'{node.path}: {error}'


def _path(node: Node, key: str, kind: str) -> Path | None:
    """The path that a data set makes from ``data_root`` and a key."""
    value = node.argument(key)
    if kind:
        value = (value or {}).get(kind)
    if not isinstance(value, str):
        return None
    return Path(os.path.expanduser(os.path.join(node.argument('data_root') or '', value)))


def _classes(node: Node) -> list[str] | None:
    info = node.config.get('metainfo') or {}
    names = info.get('classes') or getattr(node.built, 'METAINFO', {}).get('classes')
    return None if names is None or isinstance(names, str) else list(names)


def _coco(node: Node, cfg: Config) -> Iterator[str]:
    file, folder = _path(node, 'ann_file', ''), _path(node, 'data_prefix', 'img')
    if folder and not folder.is_dir():
        yield f'{node.path}.data_prefix.img: {folder} is not a folder: give that of the images.'
    if not file or not file.is_file():
        yield f'{node.path}.ann_file: {file} does not exist: give a COCO JSON.'
        return
    is_plain = _reads_as(node, 'CocoDataset')
    try:
        content = json.loads(file.read_text(encoding='utf-8-sig'))
        content['categories'], content['annotations']
        if is_plain:
            check_objects(f'{node.path}.ann_file: {file}', content)
        if classes := _classes(node):
            refuse_other_classes(f'{node.path}.ann_file: {file}', content, classes)
    except (ValueError, KeyError, TypeError) as error:
        text = (
            str(error) if isinstance(error, ValueError) else f'{file} is not a COCO JSON: {error!r}'
        )
        yield text
        return
    asks = any(
        isinstance(t, dict) and t.get('with_mask') for t in node.config.get('pipeline') or []
    )
    masks = 'segmentation', 'segments_info'  # the latter in panoptic annotations
    bare = [one for one in content['annotations'] if not any(map(one.get, masks))]
    if asks and bare:
        yield (
            f'{node.path}.ann_file: {len(bare)} of {len(content["annotations"])} annotations in '
            f'{file} are boxes without masks, and the pipeline has with_mask=True: draw the masks, '
            'or use configs/downstream/folder/detection.py, which also takes boxes without masks.'
        )
    if is_plain and folder and folder.is_dir():
        yield from _images(node, content, folder)


def _xml(node: Node) -> Iterator[str]:
    """Files of Pascal VOC, whose objects mmdet drops if their name is spelled in another way."""
    file, classes = _path(node, 'ann_file', ''), _classes(node)
    if not file or not file.is_file():
        yield f'{node.path}.ann_file: {file} does not exist: give a list of names of XML files.'
        return
    folder = (_path(node, 'data_prefix', 'sub_data_root') or Path()) / node.argument('ann_subdir')
    found = set()
    for name in file.read_text().splitlines()[:NUM_XML]:
        path = folder / f'{name}.xml'
        try:
            found |= {one.findtext('name', '') for one in parse(path).iterfind('object')}
        except (OSError, ParseError) as error:
            yield f'{node.path}.ann_file: {path} cannot be read ({error}): correct it or {file}.'
            return
    if not classes:
        return
    others = {name.lower() for name in found.difference(classes)}
    if found.isdisjoint(classes) or not others.isdisjoint(name.lower() for name in classes):
        try:
            content = dict(categories=[dict(name=name) for name in sorted(found)])
            refuse_other_classes(f'{node.path}.ann_file: {folder}', content, classes)
        except ValueError as error:
            yield str(error)


def _reads_as(node: Node, name: str) -> bool:
    """Whether a data set reads its files exactly as its base class of this name does."""
    *_, base = (one for one in inspect.getmro(node.built) if one.__name__ == name)
    methods = ('load_data_list', 'parse_data_info')
    return all(getattr(node.built, one) is getattr(base, one) for one in methods)


def _images(node: Node, content: dict, folder: Path) -> Iterator[str]:
    """Image files that mmdet would open and that do not exist, by a listing of each folder."""
    images = content['images']
    drops_empty = (node.argument('filter_cfg') or {}).get('filter_empty_gt')
    if drops_empty and not node.argument('test_mode'):
        used = {one['image_id'] for one in content['annotations']}
        images = [image for image in images if image['id'] in used]
    paths = [os.path.split(os.path.join(folder, image['file_name'])) for image in images]
    listed = {
        place: set(os.listdir(place)) if os.path.isdir(place) else set()
        for place in {place for place, _ in paths}
    }
    missing = [os.path.join(place, name) for place, name in paths if name not in listed[place]]
    if missing:
        yield (
            f'{node.path}.data_prefix.img: {len(missing)} of {len(paths)} images of the annotation '
            f'file do not exist, such as {missing[0]!r}: give the folder that these names are in, '
            'or correct file_name.'
        )


def _maps(node: Node, cfg: Config) -> Iterator[str]:
    images, labels = (_path(node, 'data_prefix', kind) for kind in ('img_path', 'seg_map_path'))
    files = {}
    for kind, folder, key in (('img', images, 'img_path'), ('seg_map', labels, 'seg_map_path')):
        if folder is None:
            continue
        if not folder.is_dir():
            yield f'{node.path}.data_prefix.{key}: {folder} is not a folder.'
            continue
        suffix = node.argument(f'{kind}_suffix')
        names = list_files(str(folder))[0]
        files[kind] = sorted(n for n in names if n.endswith(suffix))
        if not files[kind]:
            endings = Counter(Path(name).suffix for name in names).most_common(3)
            shown = ', '.join(f'{count} in {ending!r}' for ending, count in endings) or 'none'
            better = f': set {kind}_suffix={endings[0][0]!r}' if endings else ''
            yield (
                f'{node.path}.{kind}_suffix={suffix!r} fits no file in {folder}, whose files '
                f'end as follows: {shown}{better}.'
            )
    if not node.config.get('ann_file') and len(files) == 2 and all(files.values()):
        ends = node.argument('img_suffix'), node.argument('seg_map_suffix')
        wanted = [name.removesuffix(ends[0]) + ends[1] for name in files['img']]
        missing = sorted(set(wanted) - set(files['seg_map']))
        if missing:
            yield (
                f'{node.path}.data_prefix.seg_map_path: {labels} lacks {len(missing)} of '
                f'{len(wanted)} label maps, such as {missing[0]!r}: add them or remove the images.'
            )
    if files.get('seg_map'):
        yield from _values(node, [labels / name for name in files['seg_map']])


def _values(node: Node, paths: list[Path]) -> Iterator[str]:
    """What mmseg's loader makes of some label maps."""
    from mmcv import imread

    values: set[int] = set()
    for path in paths[:: -(-len(paths) // NUM_MAPS)]:
        codes = imread(str(path), flag='unchanged', backend='pillow').squeeze()
        if codes.ndim != 2:
            yield (
                f'{node.path}: {path} has {codes.shape[-1]} channels, and mmseg.LoadAnnotations '
                f'reads class numbers: use mmmask.LoadLabelMap, whose table is {TABLE}.'
            )
            return
        values |= set(np.unique(codes).tolist())
    if max(values) > 255:
        yield (
            f'{node.path}.data_prefix.seg_map_path: label maps such as {paths[0]} contain '
            f'{max(values)}, and mmseg keeps the lower 8 bits: write numbers of classes, or give '
            'the files that hold them in seg_map_suffix.'
        )
    classes = _classes(node)
    if values == {0, 255} and classes and len(classes) > 1:
        yield (
            f'{node.path}.data_prefix.seg_map_path: the label maps contain only 0 and 255, and '
            f'255 is ignored, so only {classes[0]!r} would be trained: write 1 for {classes[1]!r}, '
            'or use configs/downstream/folder/segmentation.py with a table.'
        )
