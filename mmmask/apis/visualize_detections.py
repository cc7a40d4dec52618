"""Pictures of the boxes that a detector finds."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from PIL import Image, ImageDraw

from mmmask.checkpoints import read_checkpoints_as_data
from mmmask.datasets import ImageFolder, decode_image
from mmmask.registry import DATASETS
from mmmask.visualization import Group, compose, spread

from .visualize import as_config, is_source, load_files, write_picture

SIDE = 360  # pixels of the longer side of an image in the picture
LEAST_SCORE = 0.3
COLORS = ('#ffa028', '#3fa7ff', '#58c15b', '#e6539b', '#b48cff', '#00b8a9', '#d9d14a', '#ff6b57')


class Box(NamedTuple):
    """Left, top, right and bottom in pixels, and the number of the class."""

    corners: Sequence[float]
    label: int


def visualize_detections(
    config: str | os.PathLike | Config,
    checkpoint: str | os.PathLike,
    images: Sequence[str | os.PathLike] | None = None,
    out: str | os.PathLike = 'detections.png',
    num_images: int = 8,
) -> Path:
    """Draw the boxes that a detector finds into a file and return its path.

    Args:
        config: config of the training of a detector, or its path.
        checkpoint: checkpoint of that training.
        images: one folder or ``.zip`` file, or image files. By default, validation images are
            drawn, beside a copy with their annotated boxes.
        out: path of the picture.
        num_images: maximum number of rows.
    """
    from mmdet.apis import inference_detector, init_detector

    cfg = as_config(config)
    init_default_scope('mmdet')
    read_checkpoints_as_data()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    model = init_detector(cfg, str(checkpoint), device=device)
    classes = model.dataset_meta['classes']
    annotated, found, best = [], [], 0.0
    for pixels, boxes in _given(images, num_images) if images else _validation(cfg, num_images):
        result = inference_detector(model, pixels).pred_instances.cpu().numpy()
        best = max([best, *result.scores.tolist()])
        result = result[result.scores >= LEAST_SCORE]
        detected = [*map(Box, result.bboxes.tolist(), result.labels.tolist())]
        found.append(draw_boxes(pixels, detected, classes))
        annotated.append(draw_boxes(pixels, boxes, classes))
    columns = [] if images else [('annotated', np.stack(annotated))]
    columns.append(('found', np.stack(found)))
    caption = f'Boxes with a score of at least {LEAST_SCORE}. The highest score is {best:.2f}.'
    return write_picture(compose([Group('', columns)], caption), out)


def _given(images: Sequence[str | os.PathLike], number: int) -> Iterator[tuple]:
    """The (H, W, 3) uint8 pixels of images, in the order of OpenCV, without boxes."""
    folder = is_source(images)
    samples = ImageFolder(images[0], pipeline=[]) if folder else load_files(images[:number], [])
    for index in spread(len(samples), number):
        yield samples[index]['img'], []


def _validation(cfg: Config, number: int) -> Iterator[tuple]:
    """The (H, W, 3) uint8 pixels of validation images, in the order of OpenCV, and their boxes."""
    dataset = DATASETS.build(ConfigDict(cfg.val_dataloader.dataset, pipeline=[]))
    for index in spread(len(dataset), number):
        sample = dataset.get_data_info(index)
        boxes = [Box(one['bbox'], one['bbox_label']) for one in sample['instances']]
        yield decode_image(Path(sample['img_path']).read_bytes()), boxes


def draw_boxes(pixels: np.ndarray, boxes: Sequence[Box], classes: Sequence[str]) -> np.ndarray:
    """(H, W, 3) uint8 pixels in the order of OpenCV -> (SIDE, SIDE, 3) RGB with outlined boxes.

    The names of the classes are written if there are several.
    """
    image = Image.fromarray(pixels[..., ::-1])
    scale = SIDE / max(image.size)
    size = [max(1, round(length * scale)) for length in image.size]
    sheet = Image.new('RGB', (SIDE, SIDE), 'white')
    sheet.paste(image.resize(size))
    draw = ImageDraw.Draw(sheet)
    for corners, label in boxes:
        left, top, right, bottom = (corner * scale for corner in corners)
        color = COLORS[label % len(COLORS)]
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=color, width=2)
        if len(classes) > 1:
            draw.text((left + 3, top + 1), classes[label], color)
    return np.asarray(sheet)
