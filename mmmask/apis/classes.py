"""One list of classes for all data sets of a run, so that a class has the same number in each."""

from collections.abc import Iterator
from itertools import chain

from mmengine.config import Config

from mmmask.datasets import ImageFolder, PixelFormat
from mmmask.datasets.sources import missing_path

# Options that decide which classes a folder has.
LISTING = ('source', 'prefix', 'extensions', *PixelFormat._fields)


def share_classes(cfg: Config) -> None:
    """Give labelled folders the classes of the data set that they are compared with.

    Validation and test sets get the classes of the training set, queries those of their bank or of
    the images that are searched. A class that a split lacks keeps its number. Data sets whose
    config names ``metainfo.classes`` keep them. Data sets may wrap others: the folders of a
    concatenation get the classes of all of them.

    Raises:
        ValueError: if the images of the first data set have no class.
    """
    for first, others in compared(cfg):
        folders = labelled_folders(first)
        unnamed = [
            folder
            for folder in [*(folders if len(folders) > 1 else ()), *labelled_folders(*others)]
            if not classes_in(folder)
        ]
        if unnamed and folders and not any(missing_path(one['source']) for one in folders):
            named = filter(None, map(classes_in, folders))
            names = next(named, None) or sorted({*chain(*map(classes_of_folder, folders))})
            for one in unnamed:
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


def labelled_folders(*datasets: dict | None) -> list[dict]:
    """The configs of all folders in data sets whose sub-folders are classes."""
    folders = chain(*(image_folders(one) for one in datasets if isinstance(one, dict)))
    return [folder for folder in folders if folder.get('with_label')]


def image_folders(dataset: dict) -> Iterator[dict]:
    """The configs of all ``mmmask.ImageFolder`` in a data set, which may wrap others."""
    if dataset.get('type') == 'mmmask.ImageFolder':
        yield dataset
    for wrapped in (dataset.get('dataset'), *dataset.get('datasets', ())):
        if isinstance(wrapped, dict):
            yield from image_folders(wrapped)


def classes_in(dataset: dict) -> list[str] | None:
    """The classes that a config names, if any."""
    return (dataset.get('metainfo') or {}).get('classes')


def classes_of_folder(dataset: dict) -> list[str]:
    """The names of the folders with images, in the order of their numbers."""
    options = {key: dataset[key] for key in LISTING if key in dataset}
    return list(ImageFolder(**options, with_label=True).metainfo['classes'])
