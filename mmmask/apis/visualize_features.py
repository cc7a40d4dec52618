"""Pictures of what the backbone in a checkpoint has learned from images."""

import csv
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset, Subset

from mmmask.checkpoints import find_pretrained, load_backbone
from mmmask.datasets import ImageFolder, PixelFormat
from mmmask.evaluation import find_duplicates
from mmmask.feature_pictures import (
    ImageFeatures,
    describe,
    draw_attention,
    draw_embedding,
    draw_neighbours,
    draw_pairs,
    draw_patch_losses,
    draw_principal_components,
)
from mmmask.outputs import MARK, OutputFolder, refuse_to_replace
from mmmask.pictures import sample_batch
from mmmask.registry import DATASETS
from mmmask.visualization import sample_pixels, spread

from .config_checks import first_image_size
from .image_format import fit_pipeline, stated_format
from .visualize import (
    as_config,
    build_model,
    is_source,
    load_files,
    plain_pipeline,
    write_picture,
)

COMPARING = ('neighbours', 'tsne', 'duplicates')  # images with each other
KINDS = ('pca', 'attention', 'loss', *COMPARING)
MAX_IMAGES = 2000  # that are compared, except for a list of duplicates
DUPLICATE = 0.99  # least similarity of a pair that is listed


class NamedPair(NamedTuple):
    """The similarity of two images, their file names and their indices."""

    similarity: float
    names: list[str]
    indices: list[int]


def visualize_features(
    config: str | os.PathLike | Config,
    checkpoint: str | os.PathLike | None = None,
    kind: str = 'pca',
    images: Sequence[str | os.PathLike] | None = None,
    out: str | os.PathLike | None = None,
    num_images: int = 8,
    seed: int = 0,
    pretrained: str | None = None,
) -> Path:
    """Draw what a backbone has learned into a file and return its path.

    Args:
        config: config of a pre-training, or its path.
        checkpoint: checkpoint of that pre-training.
        kind: ``'pca'``, principal components of patch features as colours; ``'attention'`` of the
            class token; ``'neighbours'``, the images with the most similar features; ``'tsne'``, a
            point for each image; ``'loss'`` at each hidden position; ``'duplicates'``, the most
            similar pairs of images, which are also listed in a CSV file beside the picture.
            ``'neighbours'`` and ``'tsne'`` use at most ``MAX_IMAGES`` images, at equal distances.
        images: one folder or zip archive, or image files; the config's training images by default.
            Images in sub-folders of one folder have the names of these as labels.
        out: path of the picture; ``<kind>.png`` by default.
        num_images: maximum number of rows, or of pairs.
        seed: seed of the masks, or of t-SNE.
        pretrained: instead of a checkpoint, a file from which the backbone is loaded, of any layout
            that mmmask recognises; see :func:`mmmask.checkpoints.find_pretrained`.

    Raises:
        ValueError: if the model or the images do not have what the picture shows.
        FileExistsError: if there is a picture or list of this name that mmmask did not write.
    """
    out = check_kind(kind, out, encoder_only=bool(pretrained))
    cfg = as_config(config)
    model = build_model(cfg, checkpoint)
    if pretrained:
        load_backbone(model.backbone, find_pretrained(pretrained))
    return write_features(model, open_images(cfg, images), kind, out, num_images, seed)


def check_kind(kind: str, out: str | os.PathLike | None, encoder_only: bool) -> Path:
    """The path of a picture, ``<kind>.png`` by default.

    Raises:
        ValueError: for an unknown kind, and for one that needs more than the encoder.
        FileExistsError: if there is a file of this name that mmmask did not write.
    """
    if kind not in KINDS:
        raise ValueError(f'features={kind!r} is not one of {KINDS}.')
    if kind == 'loss' and encoder_only:
        raise ValueError(
            '--features loss needs the decoder too: give a checkpoint of a pre-training with its '
            'config.'
        )
    out = Path(out or f'{kind}.png')
    refuse_to_replace(out)
    return out


def write_features(
    model, dataset: Dataset, kind: str, out: Path, num_images: int = 8, seed: int = 0
) -> Path:
    """Draw what a backbone has learned from a data set without augmentation into a file."""
    if kind == 'duplicates':
        return write_duplicates(model, dataset, out, num_images)
    return write_picture(draw_features(model, dataset, kind, num_images, seed), out)


def draw_features(
    model,
    dataset: Dataset,
    kind: str,
    num_images: int = 8,
    seed: int = 0,
    described: ImageFeatures | None = None,
) -> np.ndarray:
    """A data set without augmentation -> (H, W, 3) uint8 picture.

    Args:
        described: for the kinds of ``COMPARING``, what :func:`describe_some` returns for the data
            set, so that several pictures can share it.
    """
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if kind in COMPARING and described is None:
        described = describe_some(model, dataset)
    draw = dict(
        pca=lambda: draw_principal_components(model, sample_batch(dataset, num_images)),
        attention=lambda: draw_attention(model, sample_batch(dataset, num_images)),
        loss=lambda: draw_patch_losses(model, sample_batch(dataset, num_images), seed),
        neighbours=lambda: draw_neighbours(described, described, num_images),
        tsne=lambda: draw_embedding(described, classes, seed),
        duplicates=lambda: draw_similar_pairs(described, num_images)[0],
    )
    return draw[kind]()


def describe_some(model, dataset: Dataset) -> ImageFeatures:
    """The features of all images, or of ``MAX_IMAGES`` at equal distances if there are more."""
    return describe(model, take_some(dataset, MAX_IMAGES))


def write_duplicates(model, dataset: Dataset, out: Path, num_pairs: int) -> Path:
    """Draw the most similar pairs of all images, and list the duplicates in a CSV file beside."""
    folder = OutputFolder(out.parent)
    name = folder.claim(f'{out.stem}.csv', 'the list of duplicates').name
    images = describe(model, dataset, 'reading images')
    picture, duplicates = draw_similar_pairs(images, num_pairs, f', listed in {name}')
    with folder.file(name) as path, path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(('similarity', 'first', 'second', MARK))
        writer.writerows((f'{value:.6f}', *names) for value, names, _ in duplicates)
    return write_picture(picture, out)


def draw_similar_pairs(
    images: ImageFeatures, num_pairs: int, remark: str = ''
) -> tuple[np.ndarray, list[NamedPair]]:
    """Images -> (H, W, 3) uint8 picture of the most similar pairs, and all duplicates.

    Args:
        remark: follows the number of duplicates in the caption.

    Raises:
        ValueError: if there is no pair.
    """
    found = []
    for pair in named_pairs(images):
        if pair.similarity < DUPLICATE and len(found) >= num_pairs:
            break
        found.append(pair)
    if not found:
        raise ValueError('no two images have similar features: give more --images.')
    duplicates = [pair for pair in found if pair.similarity >= DUPLICATE]
    drawn = [_with_pixels(pair, images.dataset) for pair in found[:num_pairs]]
    caption = (
        f'The most similar of {len(images.features):,} images. Pairs with a similarity of at least '
        f'{DUPLICATE}: {len(duplicates):,}{remark}.'
    )
    return draw_pairs(drawn, caption), duplicates


def _with_pixels(pair: NamedPair, dataset: Dataset) -> tuple:
    """A pair -> its similarity, and the name and (H, W, 3) uint8 image of each of the two."""
    pixels = [sample_pixels(dataset[index]) for index in pair.indices]
    return pair.similarity, *zip(pair.names, pixels, strict=True)


def named_pairs(images: ImageFeatures) -> Iterator[NamedPair]:
    """Pairs of images, the most similar first. An image is read when its pair is reached.

    An image that a data set returns in place of an unreadable one is not paired with itself.
    """

    @cache
    def name(index: int) -> str:
        return str(images.dataset[index]['data_samples'].get('img_path', index))

    for similarity, *pair in find_duplicates(images.features, least=0):
        names = [name(index) for index in pair]
        if names[0] != names[1]:
            yield NamedPair(similarity, names, pair)


def take_some(dataset: Dataset, most: int) -> Dataset:
    """The images of a data set, or ``most`` of them at equal distances."""
    if len(dataset) <= most:
        return dataset
    return Subset(dataset, spread(len(dataset), most))


def open_images(cfg: Config, images: Sequence[str | os.PathLike] | None) -> Dataset:
    """A data set of the given images, or of the config's training images, without augmentation.

    Images in several sub-folders of a folder are labelled by these.
    """
    init_default_scope(cfg.get('default_scope', 'mmmask'))
    size = first_image_size(cfg)
    pixel_format = stated_format(cfg.train_dataloader.dataset)
    if images:
        return open_source(images, size, pixel_format)
    pipeline = fit_pipeline(plain_pipeline(size), pixel_format)
    return _with_labels(ConfigDict(cfg.train_dataloader.dataset, pipeline=pipeline))


def open_source(
    images: Sequence[str | os.PathLike], size: tuple[int, int], pixel_format: PixelFormat
) -> Dataset:
    """As :func:`open_images`, of given images, in this size and format."""
    pipeline = fit_pipeline(plain_pipeline(size), pixel_format)
    if not is_source(images):
        return load_files(images, pipeline, pixel_format)
    source = dict(type='mmmask.ImageFolder', source=str(images[0]), pipeline=pipeline)
    return _with_labels(ConfigDict(source, **pixel_format._asdict()))


def _with_labels(stated: ConfigDict) -> Dataset:
    dataset = DATASETS.build(stated)
    if isinstance(dataset, ImageFolder) and has_classes(dataset):
        return DATASETS.build(ConfigDict(stated, with_label=True))
    return dataset


def has_classes(dataset: ImageFolder) -> bool:
    """Whether all images lie in sub-folders, of which there are several."""
    names = [dataset.get_data_info(index)['name'] for index in range(len(dataset))]
    folders = {name.split('/')[0] if '/' in name else None for name in names}
    return None not in folders and len(folders) > 1
