"""One list of classes for all data sets of a run, so that a class has the same number in each."""

from collections.abc import Iterator

from mmengine.config import Config

from mmmask.datasets import ImageFolder, PixelFormat
from mmmask.datasets.sources import missing_path

# Options that decide which classes a folder has.
LISTING = ('source', 'prefix', 'extensions', *PixelFormat._fields)


def share_classes(cfg: Config) -> None:
    """Give labelled folders the classes of the data set that they are compared with.

    Validation and test sets get the classes of the training set, queries those of their bank or of
    the images that are searched. A class that a split lacks keeps its number. Data sets whose
    config names ``metainfo.classes`` keep them.

    Raises:
        ValueError: if the images of the first data set have no class.
    """
    for first, others in compared(cfg):
        others = [one for one in others if is_labelled(one) and not classes_in(one)]
        if others and is_labelled(first) and not missing_path(first['source']):
            names = classes_in(first) or classes_of_folder(first)
            for one in others:
                one['metainfo'] = {**(one.get('metainfo') or {}), 'classes': names}


def compared(cfg: Config) -> Iterator[tuple[dict | None, list]]:
    """A data set that decides about the classes, and those that are compared with it."""
    train, val, test = (
        (cfg.get(f'{split}_dataloader') or {}).get('dataset') for split in ('train', 'val', 'test')
    )
    yield train, [val, test]
    loop = cfg.get('test_cfg') or {}
    yield loop.get('bank'), [test]
    yield test, list((loop.get('queries') or {}).values())
    for hook in cfg.get('custom_hooks') or []:
        yield hook.get('bank'), [hook.get('query')]


def is_labelled(dataset: dict | None) -> bool:
    """Whether a config describes a folder whose sub-folders are classes."""
    known = isinstance(dataset, dict) and dataset.get('type') == 'mmmask.ImageFolder'
    return known and bool(dataset.get('with_label'))


def classes_in(dataset: dict) -> list[str] | None:
    """The classes that a config names, if any."""
    return (dataset.get('metainfo') or {}).get('classes')


def classes_of_folder(dataset: dict) -> list[str]:
    """The names of the folders with images, in the order of their numbers."""
    options = {key: dataset[key] for key in LISTING if key in dataset}
    return list(ImageFolder(**options, with_label=True).metainfo['classes'])
