"""Pictures of predictions beside the ground truth, the worst first."""

import colorsys
import heapq
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image, ImageDraw
from torchvision.ops import box_iou

from mmmask.datasets import decode_image
from mmmask.datasets.label_maps import IGNORED
from mmmask.outputs import OutputFolder

LEAST_SCORE = 0.3  # of a detection that is drawn and counted
SIDES = 256, 768  # least and largest longest side of a drawn image
CAPTION = 16  # px of height
CROWD = 30  # boxes above which their names would hide the image


class Drawing(NamedTuple):
    """An image (H, W, 3) uint8 RGB with what is drawn on its left and on its right copy."""

    name: str
    image: np.ndarray
    truth: object
    prediction: object


class DrawPredictionsHook(Hook):
    """Draw the test images that a model predicts worst, ground truth left and prediction right.

    The quality of a prediction is, for classification, the probability of the true class; for
    detection, the F1 score of boxes with a score of at least 0.3 that have the class of an object
    and an IoU of 0.5 with it; for segmentation, the mean IoU of the classes in the image.

    Args:
        folder: gets ``001.png``, the worst one, ``002.png``, ...; it must be new or empty.
        count: number of pictures.

    Raises:
        FileExistsError: if the folder contains files.
        ValueError: on testing, if the model does not predict classes, boxes or label maps.
    """

    def __init__(self, folder: str | os.PathLike, count: int = 50) -> None:
        path = Path(folder).expanduser()
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise FileExistsError(f'--draw {folder} is not a new or empty folder: choose another.')
        self.output, self.count = OutputFolder(path), count
        self._worst: list[tuple[float, int, Drawing]] = []
        self._seen = 0

    def before_test(self, runner: Runner) -> None:
        if getattr(runner.test_loop, 'evaluator', None) is None:
            raise ValueError('--draw needs a test of a classifier, detector or segmentor.')
        dataset = runner.test_loop.dataloader.dataset
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        self.classes = classes and list(map(str, classes))

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        for image, sample in zip(data_batch['inputs'], outputs or (), strict=True):
            quality, drawing = judge(image, sample)
            self._seen += 1
            entry = -quality, -self._seen, drawing  # of equal ones the first is kept
            if len(self._worst) < self.count:
                heapq.heappush(self._worst, entry)
            else:
                heapq.heappushpop(self._worst, entry)

    def after_test_epoch(self, runner: Runner, metrics=None) -> None:
        ranked = sorted(self._worst, key=lambda entry: entry[:2], reverse=True)
        for rank, (negative, _, drawing) in enumerate(ranked, 1):
            picture = draw(drawing, -negative, self.classes)
            self.output.save_image(f'{rank:03d}.png', picture)
        runner.logger.info(f'{len(ranked)} pictures, the worst first, are in {self.output.folder}')


def judge(image: torch.Tensor, sample) -> tuple[float, Drawing]:
    """Quality from 0 to 1 of a prediction, and what to draw of it.

    Args:
        image: (3, H, W) uint8 BGR, as the pipeline returns it.
        sample: data sample of mmpretrain, mmdet or mmseg with ground truth and prediction.
    """
    name = sample.get('img_path') or ''
    if 'pred_instances' in sample:
        picture = _read(name)
        truth, found = sample.gt_instances.cpu(), sample.pred_instances.cpu()
        found = found[found.scores >= LEAST_SCORE]
        quality = f1_score(truth.bboxes, truth.labels, found.bboxes, found.labels)
        return quality, Drawing(name, picture, _instances(truth), _instances(found))
    if 'pred_sem_seg' in sample:
        picture = _read(name)
        truth, found = (
            getattr(sample, key).data.squeeze(0).cpu().numpy()
            for key in ('gt_sem_seg', 'pred_sem_seg')
        )
        if truth.shape != found.shape:  # the pipeline resized the ground truth
            truth = _resized(truth, found.shape[::-1])
        return mean_iou(truth, found), Drawing(name, picture, truth, found)
    if 'pred_score' in sample and 'gt_label' in sample:
        picture = np.ascontiguousarray(image[:3].permute(1, 2, 0).cpu().numpy()[..., ::-1])
        truth, scores = int(sample.gt_label[0]), sample.pred_score.cpu()
        best = int(scores.argmax())
        drawing = Drawing(name, picture, (truth, None), (best, float(scores[best])))
        return float(scores[truth]), drawing
    raise ValueError('--draw needs a model that predicts classes, boxes or label maps.')


def _read(path: str) -> np.ndarray:
    return np.ascontiguousarray(decode_image(Path(path).read_bytes())[..., ::-1])


def _instances(instances) -> tuple:
    """Boxes, labels, scores or None, and masks or None."""
    masks = instances.get('masks')
    masks = masks.to_ndarray() if hasattr(masks, 'to_ndarray') else masks
    scores = instances.scores.tolist() if 'scores' in instances else None
    masks = None if masks is None else np.asarray(masks, bool)
    return instances.bboxes.tolist(), instances.labels.tolist(), scores, masks


def f1_score(
    truth: torch.Tensor, labels: torch.Tensor, found: torch.Tensor, found_labels: torch.Tensor
) -> float:
    """Boxes (N, 4) and (M, 4) with labels, the second by falling score -> F1 at an IoU of 0.5."""
    if not len(truth) + len(found):
        return 1.0
    overlaps = box_iou(found.float(), truth.float()) * (found_labels[:, None] == labels)
    matched = 0
    for row in overlaps:
        if len(row) and row.max() >= 0.5:
            matched += 1
            overlaps[:, row.argmax()] = 0
    return 2 * matched / (len(truth) + len(found))


def mean_iou(truth: np.ndarray, found: np.ndarray) -> float:
    """Label maps (H, W) -> the mean IoU of all classes in either, without ignored pixels."""
    valid = truth != IGNORED
    truth, found = truth[valid], found[valid]
    classes = np.union1d(truth, found)
    unions = [
        ((truth == k) & (found == k)).sum() / ((truth == k) | (found == k)).sum() for k in classes
    ]
    return float(np.mean(unions)) if unions else 1.0


def colour_of(number: int) -> tuple[int, int, int]:
    """Distinct colours for the numbers of classes."""
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.9, 1.0))


def draw(drawing: Drawing, quality: float, classes: Sequence[str] | None) -> Image.Image:
    """The two halves with a caption each."""
    halves = [
        draw_half(drawing.image, content, classes)
        for content in (drawing.truth, drawing.prediction)
    ]
    width, height = halves[0].size
    picture = Image.new('RGB', (2 * width + 4, height + 2 * CAPTION), 'white')
    texts = (Path(drawing.name).name, f'quality {quality:.3f}')
    for i, half in enumerate(halves):
        picture.paste(half, (i * (width + 4), 2 * CAPTION))
        pen = ImageDraw.Draw(picture)
        for line, text in enumerate((texts[i], ('ground truth', 'prediction')[i])):
            place = i * (width + 4) + 2, line * CAPTION + 2
            pen.text(place, text.encode('ascii', 'replace').decode(), fill='black')
    return picture


def draw_half(image: np.ndarray, content, classes: Sequence[str] | None) -> Image.Image:
    """An (H, W, 3) image with a class and its score, with boxes, or with a map of labels.

    Args:
        content: label and score or None; lists of boxes, labels, scores or None, and (M, H, W)
            masks or None; or an (H, W) map.
    """
    height, width = image.shape[:2]
    longest = max(height, width)
    scale = min(max(longest, SIDES[0]), SIDES[1]) / longest
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    picture = Image.fromarray(image).resize(size)
    name = lambda label: classes[label] if classes else str(label)  # noqa: E731
    if isinstance(content, np.ndarray):
        labels = _resized(content, size)
        for label in np.unique(labels[labels != IGNORED]):
            _tint(picture, labels == label, int(label))
            rows, columns = np.nonzero(labels == label)
            place = int(np.median(columns)), int(np.median(rows))
            _write(ImageDraw.Draw(picture), place, name(int(label)), int(label))
    elif len(content) == 2:
        label, score = content
        _write(ImageDraw.Draw(picture), (2, 2), _with_score(name(label), score), label)
    else:
        boxes, labels, scores, masks = content
        for i, (box, label) in enumerate(zip(boxes, labels, strict=True)):
            if masks is not None:
                _tint(picture, _resized(masks[i].astype(np.uint8), size) > 0, label)
            pen, corners = ImageDraw.Draw(picture), [value * scale for value in box]
            pen.rectangle(corners, outline=colour_of(label), width=2)
            if len(boxes) <= CROWD:
                text = _with_score(name(label), scores and scores[i])
                _write(pen, (corners[0] + 2, corners[1] + 1), text, label)
    return picture


def _with_score(text: str, score: float | None) -> str:
    return text if score is None else f'{text} {score:.2f}'


def _resized(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a map of labels to (W, H) by nearest neighbours."""
    return np.asarray(
        Image.fromarray(labels.astype(np.int32)).resize(size, Image.Resampling.NEAREST)
    )


def _tint(picture: Image.Image, mask: np.ndarray, label: int) -> None:
    layer = Image.new('RGB', picture.size, colour_of(label))
    picture.paste(Image.blend(picture, layer, 0.45), mask=Image.fromarray(mask))


def _write(pen: ImageDraw.ImageDraw, place: tuple, text: str, label: int) -> None:
    text = text.encode('ascii', 'replace').decode()
    pen.rectangle(pen.textbbox(place, text), fill='black')
    pen.text(place, text, fill=colour_of(label))
