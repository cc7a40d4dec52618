"""Pictures of how a pre-trained model predicts, divides and crops images."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose, default_collate
from mmengine.registry import init_default_scope
from PIL import Image

from mmmask.checkpoints import (
    CheckpointError,
    find_tensors,
    open_checkpoint,
    read_checkpoints_as_data,
)
from mmmask.datasets import PLAIN, ImageFolder, PixelFormat, decode_image
from mmmask.datasets.sources import SHARDS
from mmmask.engine.hooks import RefreshCropsHook
from mmmask.outputs import OutputFolder
from mmmask.pictures import (
    BoxStage,
    divide_and_mask,
    draw_box_stages,
    draw_mask_samples,
    draw_stages,
    reconstruct_and_draw,
    sample_batch,
)
from mmmask.registry import DATASETS, HOOKS, MODELS

from .config_checks import first_image_size, image_sizes
from .config_nodes import find_nodes
from .image_format import fit_pipeline, stated_format

# Stages of the schedule at which a single checkpoint is drawn.
SCHEDULE = (0.0, 0.1, 0.25, 0.5, 1.0)


def build_model(cfg: Config, checkpoint: str | os.PathLike | None = None, seed: int = 0):
    """The model of a config in evaluation mode, with the weights of a checkpoint or initial ones.

    Raises:
        CheckpointError: if the checkpoint lacks weights of the model. The message names them.
    """
    init_default_scope(cfg.get('default_scope', 'mmmask'))
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    if checkpoint is None:
        read_checkpoints_as_data()  # for an init_cfg of type Pretrained
        model.init_weights()
        return model.eval()
    tensors = find_tensors(open_checkpoint(checkpoint), checkpoint)
    result = model.load_state_dict(tensors, strict=False)
    if result.missing_keys:
        raise CheckpointError(
            f'{checkpoint} lacks {len(result.missing_keys)} tensors of the model in '
            f'{cfg.filename}, such as {result.missing_keys[:3]}: give the config that it was '
            'trained with, and a checkpoint of the pre-training rather than an export.'
        )
    return model.eval()


def plain_pipeline(size: Sequence[int]) -> list[dict]:
    """The pipeline of evaluation, without randomness: short side resized, then a centre crop."""
    height, width = size
    return [
        dict(
            type='mmpretrain.ResizeEdge',
            scale=max(height, width),
            edge='short',
            backend='pillow',
            interpolation='bicubic',
        ),
        dict(type='mmpretrain.CenterCrop', crop_size=(height, width)),
        dict(type='mmpretrain.PackInputs'),
    ]


def load_images(
    images: Sequence[str | os.PathLike],
    pipeline: list[dict],
    num_images: int,
    pixel_format: PixelFormat = PLAIN,
) -> dict:
    """A collated batch from one folder or zip archive, or from image files.

    Raises:
        ValueError: if a file is not a readable image. The message names it.
    """
    if is_source(images):
        folder = ImageFolder(images[0], pipeline=pipeline, **pixel_format._asdict())
        return sample_batch(folder, num_images)
    return default_collate(load_files(images[:num_images], pipeline, pixel_format))


def as_config(config: str | os.PathLike | Config) -> Config:
    """A config, which is read if its path is given."""
    return config if isinstance(config, Config) else Config.fromfile(config)


def is_source(images: Sequence[str | os.PathLike]) -> bool:
    """Whether these are one folder or archive, or shards, rather than image files."""
    endings = '.zip', *SHARDS
    return len(images) == 1 and (os.path.isdir(images[0]) or str(images[0]).endswith(endings))


def load_files(
    paths: Sequence[str | os.PathLike], pipeline: list[dict], pixel_format: PixelFormat = PLAIN
) -> list[dict]:
    """The samples of image files. Raises as :func:`load_images`."""
    transform = Compose(pipeline)
    samples = []
    for path in paths:
        try:
            image = decode_image(Path(path).read_bytes(), pixel_format=pixel_format)
        except FileNotFoundError:
            raise
        except Exception as error:  # Pillow raises many kinds of errors
            raise ValueError(f'{path} is not a readable image: {error}') from error
        samples.append(transform(dict(img=image, img_path=str(path), img_shape=image.shape[:2])))
    return samples


def visualize(
    config: str | os.PathLike | Config,
    checkpoint: str | os.PathLike,
    images: Sequence[str | os.PathLike] | None = None,
    out: str | os.PathLike = 'reconstruction.png',
    num_images: int = 8,
    seed: int = 0,
) -> Path:
    """Draw images, masks, targets and predictions into a file and return its path.

    Args:
        config: config of a pre-training, or its path.
        checkpoint: checkpoint of that pre-training.
        images: one folder or zip archive, or image files; the config's training images by default.
        out: path of the picture.
        num_images: maximum number of rows.
        seed: seed of the masks.

    Raises:
        ValueError: for a method that predicts embeddings.
    """
    cfg = as_config(config)
    model = build_model(cfg, checkpoint)
    if not hasattr(model, 'target_generator'):
        raise ValueError(
            f'{type(model).__name__} in {cfg.filename} predicts embeddings, which cannot '
            'be drawn: choose a method that reconstructs patches.'
        )
    batch = choose_images(cfg, images, plain_pipeline(model.backbone.img_size), num_images)
    return write_picture(reconstruct_and_draw(model, batch, seed), out)


def visualize_masks(
    config: str | os.PathLike | Config,
    checkpoint: str | os.PathLike | None = None,
    images: Sequence[str | os.PathLike] | None = None,
    out: str | os.PathLike = 'masks.png',
    num_images: int = 8,
    seed: int = 0,
) -> Path:
    """Draw the masks that a config makes for images into a file and return its path.

    Args:
        checkpoint: weights for masks that depend on the model, by default the initial ones. At the
            end of a training such masks look different from those of a new model.
        config, images, out, num_images, seed: as in :func:`visualize`.

    Raises:
        ValueError: for a method that hides nothing.
    """
    cfg = as_config(config)
    model = build_model(cfg, checkpoint)
    size = first_image_size(cfg)
    batch = choose_images(cfg, images, plain_pipeline(size), num_images)
    return write_picture(draw_mask_samples(model, batch, seed, SCHEDULE), out)


def visualize_evolution(
    config: str | os.PathLike | Config,
    checkpoints: Sequence[str | os.PathLike],
    images: Sequence[str | os.PathLike] | None = None,
    out: str | os.PathLike = 'evolution.png',
    num_images: int = 4,
    seed: int = 0,
) -> Path:
    """Draw parts and masks of the same images at several stages and return the path.

    Args:
        config: config of a pre-training with evolved masks.
        checkpoints: checkpoints of that pre-training, each drawn at its own progress. For a single
            checkpoint, the masks of the whole schedule are drawn.
        images, out, num_images, seed: as in :func:`visualize`.

    Raises:
        ValueError: if the config's masks do not evolve or a checkpoint does not contain its epoch.
    """
    cfg = as_config(config)
    single = len(checkpoints) == 1
    if not single:
        checkpoints = sorted(checkpoints, key=lambda path: progress_of(path, cfg))
    stages = []
    for checkpoint in checkpoints:
        model = build_model(cfg, checkpoint)
        if not hasattr(model.masking, 'set_progress'):
            raise ValueError(
                f'{cfg.filename}: the masks of {type(model.masking).__name__} do not change during '
                'training: choose a config with EvolvedHierarchyMask or EvolvedPartMask.'
            )
        batch = choose_images(cfg, images, plain_pipeline(model.backbone.img_size), num_images)
        for progress in SCHEDULE if single else (progress_of(checkpoint, cfg),):
            model.masking.set_progress(progress)
            stage = divide_and_mask(model, batch, seed)
            stages.append(stage._replace(title=f'progress {progress:.2f}, {stage.title}'))
    return write_picture(draw_stages(model, batch, stages), out)


def visualize_boxes(
    config: str | os.PathLike | Config,
    checkpoints: Sequence[str | os.PathLike],
    images: Sequence[str | os.PathLike] | None = None,
    out: str | os.PathLike = 'boxes.png',
    num_images: int = 4,
) -> Path:
    """Draw heat maps and boxes of the same whole images and return the path of the picture.

    Each checkpoint has a column.

    Args:
        config: config of a pre-training with ContrastiveCrop and RefreshCropsHook. The options of
            the hook are used.
        checkpoints: checkpoints of that pre-training, drawn in the order of their epochs.
        images, out, num_images: as in :func:`visualize`.

    Raises:
        ValueError: if the config has no RefreshCropsHook.
    """
    cfg = as_config(config)
    hook = find_refresh_hook(cfg)
    (width, height), *_ = (
        size[::-1] for size in image_sizes(find_nodes(dict(cfg.items()))).values()
    )
    squash = dict(
        type='mmpretrain.Resize', scale=(width, height), backend='pillow', interpolation='bicubic'
    )
    pipeline = [squash, dict(type='mmpretrain.PackInputs')]
    epochs = {path: open_checkpoint(path).get('meta', {}).get('epoch') for path in checkpoints}
    stages = []
    for path in sorted(checkpoints, key=lambda path: epochs[path] or 0):
        model = build_model(cfg, path)
        batch = choose_images(cfg, images, pipeline, num_images)
        title = Path(path).stem if epochs[path] is None else f'epoch {epochs[path]}'
        stages.append(BoxStage(title, *hook.find(model, batch)))
    return write_picture(draw_box_stages(model, batch, stages), out)


def find_refresh_hook(cfg: Config) -> RefreshCropsHook:
    """The hook of a config that finds boxes.

    Raises:
        ValueError: if the config has no such hook.
    """
    for hook in (*cfg.get('custom_hooks', []), *cfg.get('default_hooks', {}).values()):
        if hook and HOOKS.get(hook['type']) is RefreshCropsHook:
            return HOOKS.build(hook)
    raise ValueError(
        f'{cfg.filename} finds no boxes: give the config of a training with '
        "dict(type='mmmask.RefreshCropsHook') among its hooks."
    )


def progress_of(checkpoint: str | os.PathLike, cfg: Config) -> float:
    """Progress of the masks in the last epoch, or iteration, of a checkpoint.

    Raises:
        ValueError: if the checkpoint does not contain the length of its training.
    """
    meta = open_checkpoint(checkpoint).get('meta', {})
    unit = 'epoch' if 'max_epochs' in cfg.train_cfg else 'iter'
    if unit not in meta:
        raise ValueError(
            f'{checkpoint} does not contain its {unit}: give checkpoints written by the training.'
        )
    length = cfg.train_cfg.get('max_epochs') or cfg.train_cfg.max_iters
    return min(max(meta[unit] - 1, 0) / max(length - 1, 1), 1.0)


def choose_images(
    cfg: Config, images: Sequence[str | os.PathLike] | None, pipeline: list[dict], num_images: int
) -> dict:
    """A collated batch of the given images, or of the config's training images.

    Channels and range are those of the training images.
    """
    pixel_format = stated_format(cfg.train_dataloader.dataset)
    pipeline = fit_pipeline(pipeline, pixel_format)
    if images:
        return load_images(images, pipeline, num_images, pixel_format)
    dataset = ConfigDict(cfg.train_dataloader.dataset, pipeline=pipeline)
    return sample_batch(DATASETS.build(dataset), num_images)


def write_picture(picture: np.ndarray, out: str | os.PathLike) -> Path:
    """Write a (H, W, 3) uint8 picture to a PNG or JPEG file; create its folder if needed.

    Raises:
        FileExistsError: if there is a file of this name that mmmask did not write.
    """
    out = Path(out)
    return OutputFolder(out.parent).save_image(out.name, Image.fromarray(picture))
