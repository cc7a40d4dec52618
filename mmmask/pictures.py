"""Pictures of a model's results for a batch of images, drawn by :mod:`mmmask.visualization`."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dataset import default_collate
from torch import Tensor

from mmmask.evaluation import observing
from mmmask.masking import Mask
from mmmask.random_state import preserve_random_state
from mmmask.visualization import (
    DrawnMask,
    draw_boxes,
    draw_evolution,
    draw_masks,
    draw_reconstruction,
    spread,
)

NUM_SAMPLES = 4  # masks of an image that are drawn if they do not change during training


class Stage(NamedTuple):
    """Images at one stage of training: a title, (B, h, w) parts and (B, h, w) hidden patches."""

    title: str
    labels: Tensor
    hidden: Tensor


class BoxStage(NamedTuple):
    """Images at one stage of training: a title, (B, h, w) heat maps and (B, 4) boxes."""

    title: str
    heat_maps: Tensor
    boxes: Tensor


def sample_batch(dataset, num_images: int) -> dict:
    """A collated batch of images at equal distances in a data set. Preserves random states."""
    with preserve_random_state():
        return default_collate([dataset[index] for index in spread(len(dataset), num_images)])


def reconstruct_and_draw(model, batch: dict, mask_seed: int) -> np.ndarray:
    """A batch -> (H, W, 3) uint8 picture of its images, masks, targets and predictions."""
    with observing(model, batch) as (model, images):
        torch.manual_seed(mask_seed)
        reconstruction = model(images, mode='predict')
    return draw_reconstruction(reconstruction, model.target_generator, *normalization(model))


def divide_and_mask(model, batch: dict, mask_seed: int) -> Stage:
    """The parts and masks of a batch at the current progress of the model's mask generator.

    Raises:
        ValueError: if the mask generator does not divide images into parts.
    """
    with observing(model, batch) as (model, images):
        if not hasattr(model.masking, 'divide'):
            raise ValueError(
                f'{type(model.masking).__name__} does not divide images into parts: choose a model '
                'with EvolvedHierarchyMask or EvolvedPartMask.'
            )
        torch.manual_seed(mask_seed)
        grid = model.backbone.grid(images)
        evidence = model.parser(images) if model.masking.needs_evidence else None
        labels = model.masking.divide(len(images), grid, images.device, evidence)
        hidden = model.masking.draw(labels, grid).hidden
    parts = np.mean([len(one.unique()) for one in labels])
    labels, hidden = (tensor.unflatten(1, grid).cpu() for tensor in (labels, hidden))
    return Stage(f'{parts:.0f} parts', labels, hidden)


def draw_mask_samples(model, batch: dict, mask_seed: int, schedule: Sequence[float]) -> np.ndarray:
    """A batch -> (H, W, 3) uint8 picture of its masks: samples, or stages of their schedule.

    Raises:
        ValueError: if the model hides nothing.
    """
    masking = getattr(model, 'masking', None)
    if masking is None:
        raise ValueError(f'{type(model).__name__} hides nothing: model.masking is not set.')
    with observing(model, batch) as (model, images):
        torch.manual_seed(mask_seed)
        if not hasattr(model, 'draw_mask'):
            groups = _feature_groups(model.predict(images))
        else:
            evolves = hasattr(masking, 'set_progress')
            masks = {}
            for stage in schedule if evolves else range(NUM_SAMPLES):
                if evolves:
                    masking.set_progress(stage)
                title = f'progress {stage:.2f}' if evolves else f'sample {stage + 1}'
                masks[title] = _drawn(model.draw_mask(images))
            groups = [(type(masking).__name__, masks)]
        return draw_masks(images, groups, *normalization(model))


def _drawn(mask: Mask) -> DrawnMask:
    """A mask with its blocks in place, if not all hidden patches are predicted as one block."""
    hidden, blocks = mask.hidden.unflatten(1, mask.grid), mask.ids_predict
    if blocks is not None:
        places = torch.zeros_like(mask.hidden)[:, None].repeat(1, blocks.shape[1], 1)
        blocks = places.scatter(2, blocks, True).unflatten(2, mask.grid)
    return DrawnMask(hidden, blocks)


def _feature_groups(features) -> list[tuple[str, dict[str, DrawnMask]]]:
    """The hidden positions of each group by title, at each level of the feature maps."""
    levels = []
    for grid, groups in zip(features.grids, features.groups, strict=True):
        hidden = torch.ones(*groups.shape[:2], grid[0] * grid[1], dtype=torch.bool)
        hidden = hidden.to(groups.device).scatter(2, groups, False).unflatten(2, grid)
        samples = {
            f'group {index + 1}': DrawnMask(one) for index, one in enumerate(hidden.unbind(1))
        }
        levels.append((f'{grid[0]} x {grid[1]} feature map', samples))
    return levels


def draw_stages(model, batch: dict, stages: list[Stage]) -> np.ndarray:
    """Stages of a batch -> (H, W, 3) uint8 picture."""
    with observing(model, batch) as (model, images):
        return draw_evolution(images, stages, *normalization(model))


def draw_box_stages(model, batch: dict, stages: list[BoxStage]) -> np.ndarray:
    """Stages of a batch -> (H, W, 3) uint8 picture."""
    with observing(model, batch) as (model, images):
        return draw_boxes(images, stages, *normalization(model))


def normalization(model) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of a model's data preprocessor for pixels from 0 to 255."""
    preprocessor = model.data_preprocessor
    if not hasattr(preprocessor, 'mean'):
        return [0.0], [1.0]
    return preprocessor.mean.flatten().tolist(), preprocessor.std.flatten().tolist()
