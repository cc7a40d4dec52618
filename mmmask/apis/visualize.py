"""Pictures of what a pre-trained model predicts."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose, default_collate
from mmengine.registry import init_default_scope
from PIL import Image

from mmmask.datasets import ImageFolder, decode_image
from mmmask.engine.checkpointing import CheckpointError, find_tensors, open_checkpoint
from mmmask.engine.hooks import reconstruct_and_draw, sample_batch
from mmmask.registry import DATASETS, MODELS


def build_model(cfg: Config, checkpoint: str | os.PathLike | None = None, seed: int = 0):
    """The model of a config in evaluation mode, with the weights of a checkpoint or random ones.

    Raises:
        CheckpointError: if the checkpoint does not fill the model, naming what is missing.
    """
    init_default_scope(cfg.get('default_scope', 'mmmask'))
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    if checkpoint is None:
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
    """The pipeline of evaluation: short side to the network's size, its middle, nothing random."""
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


def load_images(images: Sequence[str | os.PathLike], pipeline: list[dict], num_images: int) -> dict:
    """A collated batch from one folder or zip archive, or from image files.

    Raises:
        ValueError: naming a file that is not a readable image.
    """
    if len(images) == 1 and (os.path.isdir(images[0]) or str(images[0]).endswith('.zip')):
        return sample_batch(ImageFolder(images[0], pipeline=pipeline), num_images)
    transform = Compose(pipeline)
    samples = []
    for path in images[:num_images]:
        try:
            image = decode_image(Path(path).read_bytes())
        except FileNotFoundError:
            raise
        except Exception as error:  # Pillow knows a dozen ways to refuse a file
            raise ValueError(f'{path} is not a readable image: {error}') from error
        samples.append(transform(dict(img=image, img_path=str(path), img_shape=image.shape[:2])))
    return default_collate(samples)


def visualize(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    images: Sequence[str | os.PathLike] | None = None,
    out: str | os.PathLike = 'reconstruction.png',
    num_images: int = 8,
    seed: int = 0,
) -> Path:
    """Draw images, masks, targets and predictions into a file, and return its path.

    Args:
        config: config of a pre-training.
        checkpoint: checkpoint of that pre-training.
        images: one folder or zip archive, or image files; the config's training images by default.
        out: picture to write.
        num_images: rows at most.
        seed: seed of the masks.
    """
    cfg = Config.fromfile(config)
    model = build_model(cfg, checkpoint)
    pipeline = plain_pipeline(model.backbone.img_size)
    if images:
        batch = load_images(images, pipeline, num_images)
    else:
        dataset = ConfigDict(cfg.train_dataloader.dataset, pipeline=pipeline)
        batch = sample_batch(DATASETS.build(dataset), num_images)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(reconstruct_and_draw(model, batch, seed)).save(out)
    return out
