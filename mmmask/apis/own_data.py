"""The user's data in any config: files, classes and what follows from them, from the command line.

``--data`` of the tools names the data. Their kind follows from the config's own data sets.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log
from PIL import Image
from rich.progress import track

from mmmask.checkpoints import find_pretrained, open_checkpoint
from mmmask.datasets import ImageFolder, held_out
from mmmask.datasets.coco import complete, read_objects
from mmmask.datasets.label_maps import (
    TABLE,
    LoadLabelMap,
    find_values,
    pair_label_maps,
    read_table,
)
from mmmask.datasets.sources import missing_path
from mmmask.outputs import MARK, OutputFolder, safe_name

from .classes import classes_in
from .image_format import share_format
from .own_network import FROZEN, SPLITS, backbone_in, build_around

MANY = 2000  # label maps of which all are read, where a table names the classes
FOLDERS = ('mmmask.ImageFolder', 'mmmask.Digits', 'mmmask.PartialDuplicates')
FORMS = dict(
    detection='--data IMAGES ANNOTATIONS, a folder of images and a COCO JSON',
    segmentation=f'--data IMAGES LABELS [TABLE], two folders and {TABLE}',
    images='--data FOLDER, a folder or .zip file of images, or one of shards',
)


def task_of(cfg: Config) -> str:
    """``'detection'``, ``'segmentation'`` or ``'images'``, by the data sets of a config.

    Raises:
        ValueError: if the data sets are of another kind.
    """
    names = {one['type'] for _, one in _datasets(cfg)}
    kinds = {
        name: 'images' if name in FOLDERS else dict(
            CocoDataset='detection', LabelMapFolder='segmentation', BaseSegDataset='segmentation'
        ).get(name.rpartition('.')[2])
        for name in names
    }  # fmt: skip
    if len(found := set(kinds.values())) != 1 or None in found:
        raise ValueError(
            f'--data cannot replace the data sets {", ".join(sorted(names))} of this config: it '
            'knows class folders, COCO files and label maps. Change the config instead.'
        )
    return found.pop()


def name_data(
    cfg: Config,
    data: Sequence[str] | None,
    val_data: Sequence[str] | None = None,
    pretrained: str | None = None,
    folder: str | os.PathLike = 'work_dirs/data',
    test_only: bool = False,
) -> None:
    """Put the user's data into a config, and all that follows from them.

    Args:
        cfg: config, which is changed.
        data: paths of the data to train on, in the form of ``FORMS``. A fifth is held out by name
            if there is nothing to validate with.
        val_data: paths of the data to validate with.
        pretrained: checkpoint whose backbone a config with ``own_data`` is built around.
        folder: gets the annotation files of the two parts.
        test_only: evaluate on all of ``data``, with the classes that the config has.

    Raises:
        FileNotFoundError, FileExistsError, ValueError: naming the file, and what to do.
    """
    own = cfg.get('own_data')
    if data:
        longest = _put(cfg, data, val_data, folder, test_only)
    elif val_data or (own and own['task'] not in FROZEN):
        form = FORMS.get(own and own['task'], FORMS['images'])
        raise ValueError(
            f'{"this config is for your own data" if own else "--val-data"}: add {form}.'
        )
    else:
        longest = None
    checkpoint = {}
    if pretrained and (own or data):
        checkpoint = open_checkpoint(find_pretrained(pretrained))
    if own:
        backbone = dict(type='ResNet', depth=50)
        if pretrained:
            backbone = backbone_in(checkpoint, pretrained)
        else:
            print_log(
                'Without --pretrained, the backbone is a ResNet-50 with random weights. A ViT or '
                'Swin needs a checkpoint, from which its width, depth and patch size are read.',
                logger='current',
            )
        build_around(cfg, backbone, own['task'], longest)
        cfg.pop('own_data')
    share_format(cfg, [one for _, one in _datasets(cfg)], checkpoint.get('meta') or {})


def _put(cfg: Config, data, val_data, folder, test_only: bool) -> int | None:
    """The data of :func:`name_data` -> the longest side of images of detection, segmentation."""
    task = task_of(cfg)
    if val_data and test_only and task != 'images':
        raise ValueError('a test evaluates one set of data: give it as --data, without --val-data.')
    for paths in filter(None, (data, val_data)):
        if len(paths) not in dict(detection=(2,), segmentation=(2, 3), images=(1,))[task]:
            raise ValueError(f'--data {" ".join(paths)}: this config needs {FORMS[task]}.')
        for path in paths:
            if missing := missing_path(path):
                raise FileNotFoundError(
                    f'--data: {missing} does not exist. The form is {FORMS[task]}.'
                )
    fill = dict(detection=_detection, segmentation=_segmentation, images=_images)[task]
    return fill(cfg, data, val_data, OutputFolder(folder), test_only)


def _datasets(cfg: Config) -> Iterator[tuple[str, dict]]:
    """All data sets of a config with their paths, also those inside hooks and loops."""
    keys = (*(f'{split}_dataloader' for split in SPLITS), 'test_cfg', 'custom_hooks')

    def walk(value, path: str) -> Iterator[tuple[str, dict]]:
        if isinstance(value, dict):
            if path.rpartition('.')[2] not in ('pipeline', 'sampler', 'batch_sampler', 'metainfo'):
                if 'type' in value and ('pipeline' in value or 'data_prefix' in value):
                    yield path, value
                    return
                for key, child in value.items():
                    yield from walk(child, f'{path}.{key}')
        elif isinstance(value, list | tuple):
            for index, child in enumerate(value):
                yield from walk(child, f'{path}.{index}')

    for key in keys:
        yield from walk(cfg.get(key), key)


def set_num_classes(cfg: Config, count: int) -> None:
    """Give each head of a model, and what counts top-k, the number of classes."""

    def walk(value) -> None:
        if isinstance(value, dict):
            if isinstance(value.get('num_classes'), int):
                value['num_classes'] = count
            for key, child in value.items():
                if key != 'rpn_head':  # it knows one class: foreground
                    walk(child)
        elif isinstance(value, list | tuple):
            for child in value:
                walk(child)

    walk(cfg.get('model'))
    roi_head = cfg.model.get('roi_head') or {}
    for name in ('bbox_head', 'mask_head'):  # 80 by default
        for head in [h for h in _as_list(roi_head.get(name)) if h]:
            head['num_classes'] = count
    for split in ('val', 'test'):
        for metric in filter(None, _as_list(cfg.get(f'{split}_evaluator'))):
            if 'topk' in metric:
                metric['topk'] = (1, 5) if count > 5 else (1,)


def _as_list(value) -> list:
    return value if isinstance(value, list) else [value]


def _announce(count: int, held: int, classes: Sequence[str] | None) -> None:
    named = '' if classes is None else f'; {len(classes)} classes: {", ".join(classes[:20])}'
    more = ', …' if classes and len(classes) > 20 else ''
    part = f', {held:,} of them held out by name for validation' if held else ''
    print_log(f'--data: {count:,} images{part}{named}{more}', logger='current')


# Detection


def _detection(cfg: Config, data, val_data, output: OutputFolder, test_only: bool) -> int:
    parts = dict(train=_read_objects(*data))
    if val_data:
        parts['val'] = _read_objects(*val_data)
    content, names, masks = parts['train']
    classes = [one['name'] for one in content['categories']]
    if test_only:
        parts, classes = (
            dict(val=parts['train']),
            list(classes_in(cfg.test_dataloader.dataset) or classes),
        )
    held = set()
    if not val_data and not test_only:
        held = held_out(names.values())
        for part in ('val', 'train'):
            chosen = {k: name for k, name in names.items() if (name in held) == (part == 'val')}
            parts[part] = content, chosen, masks
    for part, (one, _, _) in parts.items():
        refuse_other_classes(_json_of(data, val_data, part), one, classes)
    if not masks and cfg.get('own_data'):
        _without_masks(cfg)
    images = dict(train=data[0], val=(val_data or data)[0])
    written = dict(train='train.json', val='test.json' if test_only else 'val.json')
    for part, (one, chosen, _) in parts.items():
        prepared = complete(one, chosen)
        if part == 'train' and not prepared['annotations']:
            raise ValueError(f'{data[1]}: no annotation is left to train on: add images.')
        with output.file(written[part]) as path:
            path.write_text(json.dumps(dict(prepared, info=dict(description=MARK))))
    for split in SPLITS:
        part = 'train' if split == 'train' else 'val'
        if (split == 'train' and test_only) or cfg.get(f'{split}_dataloader') is None:
            continue
        file, prefix = str(output.folder / written[part]), images[part]
        cfg[f'{split}_dataloader'].dataset.update(
            data_root='', ann_file=file, data_prefix=dict(img=os.path.join(prefix, '')),
            metainfo=dict(classes=classes),
        )  # fmt: skip
        if split != 'train':
            cfg[f'{split}_evaluator'].update(ann_file=file, classwise=True)
    set_num_classes(cfg, len(classes))
    _announce(len(names), len(held), classes)
    return max(max(image['height'], image['width']) for image in content['images'])


def _json_of(data, val_data, part: str) -> str:
    return (val_data if part == 'val' and val_data else data)[1]


def _read_objects(images: str, annotations: str) -> tuple[dict, dict, bool]:
    """A COCO JSON, the names of its images in the folder by their ids, and whether it has masks."""
    content, masks = read_objects(annotations)
    folder, names, missing = Path(images).expanduser(), {}, []
    for image in content['images']:
        name = safe_name(image['file_name'])
        near = (name, Path(name).name)
        found = next((one for one in near if (folder / one).is_file()), None)
        if found is None:
            missing.append(image['file_name'])
        names[image['id']] = found
    if missing:
        raise FileNotFoundError(
            f'{annotations}: {len(missing)} of {len(names)} images are not in {images}, such as '
            f'{missing[0]!r}: give the folder that these names are in, or correct file_name.'
        )
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise ValueError(
            f'{annotations}: {len(twice)} files belong to two images, such as {twice[0]!r}.'
        )
    return content, names, masks


def refuse_other_classes(path: str, content: dict, classes: Sequence[str]) -> None:
    """Raise ValueError if a COCO file has categories that are not among the classes."""
    names = [str(one.get('name')) for one in content['categories']]
    unknown = [name for name in names if name not in classes]
    if not unknown:
        return
    alike = {name: one for name in unknown for one in classes if one.lower() == name.lower()}
    if alike:
        name, other = next(iter(alike.items()))
        remedy = f'{name!r} and {other!r} differ in case: spell them alike'
    else:
        remedy = f'metainfo.classes must name them: {names[:10]}'
    raise ValueError(
        f'{path} has {len(unknown)} categories that are not among the {len(classes)} classes of '
        f'the run, such as {unknown[0]!r}, and their objects would be dropped: {remedy}.'
    )


def _without_masks(cfg: Config) -> None:
    """Turn the Mask R-CNN of a config into a Faster R-CNN."""
    cfg.model.type = 'mmdet.FasterRCNN'
    cfg.model.data_preprocessor.pad_mask = False
    own = cfg.own_data.get('narrow', {})
    cfg.own_data.narrow = {key: own[key] for key in own if '.mask_' not in key}
    for name in ('mask_head', 'mask_roi_extractor'):
        cfg.model.roi_head.pop(name, None)
    for split in SPLITS:
        for transform in cfg[f'{split}_dataloader'].dataset.pipeline:
            if 'with_mask' in transform:
                transform.with_mask = False
        if split != 'train':
            cfg[f'{split}_evaluator'].metric = ['bbox']


# Segmentation


def _segmentation(cfg: Config, data, val_data, output: OutputFolder, test_only: bool) -> int:
    pairs = pair_label_maps(*data[:2])
    if len(data) == 3:
        classes, table = read_table(data[2])
    elif test_only:
        (table,) = [t['table'] for t in cfg.test_dataloader.dataset.pipeline if 'table' in t]
        classes = list(classes_in(cfg.test_dataloader.dataset))
    else:
        paths = [label for _, label in pairs.values()]
        classes, table = find_values(track(paths, 'reading label maps', transient=True))
    loader = dict(type='mmmask.LoadLabelMap', table=table)
    _check_label_maps(loader, pairs)
    if val_data:
        _check_label_maps(loader, pair_label_maps(*val_data[:2]))
    held = set() if val_data or test_only else held_out(pairs)
    for split in SPLITS:
        if split == 'train' and test_only or cfg.get(f'{split}_dataloader') is None:
            continue
        images, labels = (data if split == 'train' or not val_data else val_data)[:2]
        part = None if not held else 'train' if split == 'train' else 'val'
        pipeline = [
            loader if t['type'].rpartition('.')[2] in ('LoadAnnotations', 'LoadLabelMap') else t
            for t in cfg[f'{split}_dataloader'].dataset.pipeline
        ]
        cfg[f'{split}_dataloader'].dataset = dict(
            type='mmmask.LabelMapFolder', images=images, labels=labels, part=part,
            metainfo=dict(classes=classes), pipeline=pipeline,
        )  # fmt: skip
    set_num_classes(cfg, len(classes))
    _announce(len(pairs), len(held), classes)
    return max(max(_size(image)) for image, _ in pairs.values())


def _size(path: str) -> tuple[int, int]:
    """(H, W) of an image file, from its header."""
    with Image.open(path) as image:
        return image.size[::-1]


def _check_label_maps(loader: dict, pairs: dict) -> None:
    """Read label maps with the table, all or ``MANY`` at equal distances."""
    transform = LoadLabelMap(loader['table'])
    chosen = list(pairs.values())[:: -(-len(pairs) // MANY)]
    for image, label in track(chosen, 'checking label maps', transient=True):
        transform(dict(seg_map_path=label, ori_shape=_size(image)))


# Images with or without labels


def _images(cfg: Config, data, val_data, output: OutputFolder, test_only: bool) -> None:
    source = data[0]
    nodes = list(_datasets(cfg))
    needs_labels = any(one.get('with_label') for path, one in nodes if 'dataloader' in path)
    needs_labels |= 'bank' in (cfg.get('test_cfg') or {})
    parts = {part: _place(source, part) for part in ('train', 'val')}
    if val_data:
        parts = dict(train=dict(source=source), val=dict(source=val_data[0]))
    classes = _classes_of(parts['train'])
    if test_only and 'bank' not in (cfg.get('test_cfg') or {}):  # a trained model on other images
        parts['val'].pop('part', None)
        classes = classes and (classes_in(cfg.test_dataloader.dataset) or classes)
    if classes is None and needs_labels:
        raise ValueError(
            f'--data {source} has no classes: put the images of each class into a folder of its '
            'own, FOLDER/<class>/* or FOLDER/train/<class>/* and FOLDER/val/<class>/*.'
        )
    if classes is None:
        _drop_judges(cfg)
    trains_on_all = not needs_labels and classes is None and not val_data
    for path, node in _datasets(cfg):
        part = 'train' if path.startswith('train_dataloader') or path.endswith('bank') else 'val'
        place = dict(source=source) if trains_on_all else parts[part]
        # With classes a fifth of each is held out, so all data sets, also those that need no label,
        # have them: otherwise a pre-training would see images that judge it.
        _replace(node, place, classes)
    if needs_labels and cfg.get('model', {}).get('head'):
        set_num_classes(cfg, len(classes))
    count, held = _count(source, parts, val_data, trains_on_all, classes is not None)
    for hook in cfg.get('custom_hooks') or []:
        if 'bank' in hook:
            hook['k'] = min(hook.get('k', 20), count - held)
    _announce(count, held, classes)


def _place(source: str, part: str) -> dict:
    """Where a part of the images is: in a sub-folder of this name, or else chosen by names."""
    try:
        for name in ('train', 'val'):
            ImageFolder(source, prefix=name)
    except FileNotFoundError:
        return dict(source=source, part=part)
    return dict(source=source, prefix=part)


def _classes_of(place: dict) -> list[str] | None:
    """Names of two or more folders that hold the images, or None."""
    try:
        classes = ImageFolder(**place, with_label=True).metainfo['classes']
    except ValueError:  # some image is in no folder
        return None
    return list(classes) if len(classes) > 1 else None


def _replace(node: dict, place: dict, classes: list[str] | None) -> None:
    for key in ('source', 'prefix', 'part', 'split', 'indices', 'with_label', 'metainfo'):
        if node['type'] != 'mmmask.PartialDuplicates' or key in ('source', 'indices'):
            node.pop(key, None)
    if node['type'] == 'mmmask.PartialDuplicates':  # it makes its own queries of all images
        node['source'] = place['source']
        return
    node.update(type='mmmask.ImageFolder', **place)
    if classes is not None:
        node.update(with_label=True, metainfo=dict(classes=classes))


def _drop_judges(cfg: Config) -> None:
    """Remove hooks that need labelled images."""
    hooks = cfg.get('custom_hooks') or []
    kept = [hook for hook in hooks if 'bank' not in hook]
    if len(kept) < len(hooks):
        cfg.custom_hooks = kept
        print_log(
            '--data: the images are in fewer than two folders, so they have no classes, and no '
            'accuracy is measured during training.',
            logger='current',
            level=logging.WARNING,
        )


def _count(source, parts: dict, val_data, trains_on_all: bool, labelled: bool) -> tuple[int, int]:
    """Numbers of all images of ``--data`` and of those that are held out by name."""
    if trains_on_all or val_data or 'prefix' in parts['train']:
        place = dict(source=source) if trains_on_all else parts['train']
        return len(ImageFolder(**place)), 0
    sizes = {part: len(ImageFolder(**place, with_label=labelled)) for part, place in parts.items()}
    return sum(sizes.values()), sizes['val']
