"""Channels and range of images, which all data sets of a run and of its checkpoints share."""

from collections.abc import Mapping

from mmengine.config import Config

from mmmask.config_text import Expression, flatten, read_config
from mmmask.datasets import PLAIN, PixelFormat

from .classes import image_folders

FOLDERS = 'mmmask.ImageFolder', 'mmmask.PartialDuplicates'


def stated_format(dataset: Mapping | None) -> PixelFormat:
    """What the folders in a data set's config, which may wrap others, state about their images."""
    for folder in image_folders(dataset or {}):
        if stated := {key: folder[key] for key in PixelFormat._fields if key in folder}:
            return PixelFormat(**stated)
    return PLAIN


def fit_pipeline(pipeline: list[dict], pixel_format: PixelFormat) -> list[dict]:
    """A pipeline whose resizing takes images of a format: Pillow resizes 8-bit colours only."""
    if pixel_format[:2] == PLAIN[:2]:
        return pipeline
    return [
        {key: value for key, value in step.items() if key != 'backend'}
        | dict(type=step['type'].replace('mmpretrain.Resize', 'mmmask.Resize'))
        for step in pipeline
    ]


def share_format(cfg: Config, datasets: list[dict], meta: Mapping) -> None:
    """Let all folders of a run read images as one of them states, or the training of a checkpoint.

    With the format of a checkpoint, whose ``meta`` is given, come its statistics for normalisation.
    Folders that state a format of their own keep it.
    """
    folders = [one for one in datasets if one['type'] in FOLDERS]
    stated = next((one for one in map(stated_format, folders) if one != PLAIN), PLAIN)
    if stated == PLAIN and folders:
        trained = read_config(meta.get('cfg', ''))
        stated = _trained_format(trained)
        if stated != PLAIN:
            _share_statistics(cfg.model.data_preprocessor, trained['model']['data_preprocessor'])
    for folder in folders:
        if stated_format(folder) == PLAIN != stated:
            folder.update(stated._asdict(), pipeline=fit_pipeline(folder['pipeline'], stated))


def _trained_format(trained: Mapping) -> PixelFormat:
    """The format in the config of a training, if it is readable."""
    loader = trained.get('train_dataloader')
    dataset = loader.get('dataset') if isinstance(loader, dict) else None
    if any(isinstance(leaf, Expression) for leaf in flatten(dataset).values()):
        return PLAIN
    return stated_format(dataset)


def _share_statistics(preprocessor: Config, trained: Mapping) -> None:
    preprocessor.update({key: trained[key] for key in ('mean', 'std') if key in trained})
    reorders = 'to_rgb' if 'to_rgb' in preprocessor else 'bgr_to_rgb'
    preprocessor[reorders] = trained.get('bgr_to_rgb', trained.get('to_rgb', False))
