"""Boxes for ContrastiveCrop that the model finds while it is being trained."""

import copy
from collections.abc import Iterator
from time import perf_counter
from typing import NamedTuple

import torch
from mmengine import dist
from mmengine.dataset import BaseDataset, Compose
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop
from torch import Tensor

from mmmask.datasets import (
    ContrastiveCrop,
    CropBoxes,
    are_full,
    box_areas,
    find_boxes,
    full_boxes,
    innermost,
)
from mmmask.evaluation import observing, shard
from mmmask.models.heat_maps import HEAT_MAPS, heat_map
from mmmask.pictures import BoxStage, draw_box_stages, sample_batch
from mmmask.registry import HOOKS

TOO_LARGE = 0.9  # mean area, or fraction of full boxes, above which boxes hardly guide the crops


class BoxedDataset(NamedTuple):
    """The boxes of a data set, and its whole images, squashed to (H, W) and not augmented."""

    boxes: CropBoxes
    whole: BaseDataset
    size: tuple[int, int]


@HOOKS.register_module()
class RefreshCropsHook(Hook):
    """Find the boxes of every :class:`mmmask.ContrastiveCrop` of the training data, at intervals.

    Boxes are used from the first epoch after ``warmup`` on. At first, boxes are whole images. New
    boxes are found after each epoch that is a multiple of ``interval`` and not before ``warmup``,
    except the last one (Peng et al., ContrastiveCrop, CVPR 2022). With any method, the backbone
    of the model then processes every whole image, squashed to the size of the crops and not
    augmented.

    The images are divided among all processes. The boxes are in shared memory, so persistent
    workers use new ones. They are also in the checkpoint, so a resumed training continues with the
    same boxes. Random states and modes of modules are preserved. The hook logs ``box_area`` (mean
    fraction of the image), ``full_boxes`` (fraction of boxes that are whole images) and the time of
    the search. It warns where boxes are so large that they no longer guide the crops.

    Args:
        heat_map, smooth: kind of heat map and whether it is smoothed; see
            ``mmmask.models.heat_maps.heat_map``.
        threshold, min_side: see :func:`mmmask.datasets.find_boxes`.
        warmup: epochs before boxes are used; below 1, a fraction of all epochs.
        interval: epochs between searches; below 1, a fraction of all epochs.
        num_images: number of rows of a picture of heat maps and boxes with a column for each search
            (see ``Visualizer.add_image``); 0 draws none.

    Raises:
        ValueError: if the heat map is unknown, the threshold is outside (0, 1), or the warm-up or
            interval is not a number of epochs. When a training starts: if it counts iterations, if
            no crop of its data needs boxes, or if its checkpoint has boxes for other numbers of
            images.
        TypeError: if a data set does not number its samples.
    """

    def __init__(
        self,
        heat_map: str = 'cls_attn',
        threshold: float = 0.3,
        warmup: float = 0.2,
        interval: float = 0.2,
        smooth: bool = False,
        min_side: float = 0.0,
        num_images: int = 4,
    ) -> None:
        if heat_map not in HEAT_MAPS:
            raise ValueError(f'heat_map={heat_map!r} is not one of {HEAT_MAPS}.')
        if not 0 < threshold < 1:
            raise ValueError(f'threshold={threshold} must lie in (0, 1), such as 0.1 or 0.3.')
        for name, value in (('warmup', warmup), ('interval', interval)):
            is_count = value >= 0 and (value < 1 or value % 1 == 0)
            if not is_count or (name == 'interval' and value == 0):
                raise ValueError(
                    f'{name}={value} must be a number of epochs, or below 1 a fraction of all '
                    'epochs, such as 0.2.'
                )
        self.heat_map = heat_map
        self.threshold = threshold
        self.warmup = warmup
        self.interval = interval
        self.smooth = smooth
        self.min_side = min_side
        self.num_images = num_images
        self.stages: list[BoxStage] = []
        self._loaded: dict | None = None

    def before_train(self, runner) -> None:
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError(
                'RefreshCropsHook counts epochs, but the training counts iterations: train by '
                'epochs, or give ContrastiveCrop a fixed box and remove the hook.'
            )
        self.stages = []
        self.datasets = [box_dataset(one) for one in find_datasets(runner.train_dataloader.dataset)]
        if not self.datasets:
            raise ValueError(
                'RefreshCropsHook finds no ContrastiveCrop without a fixed box in the pipeline of '
                'train_dataloader: put mmmask.ContrastiveCrop there, or remove the hook.'
            )
        if runner.iter > 0:
            self._restore(runner)

    def _restore(self, runner) -> None:
        if self._loaded is None:
            runner.logger.warning(
                'The checkpoint contains no boxes: ContrastiveCrop uses whole images until the '
                'next search.'
            )
            return
        saved = self._loaded['values']
        lengths = [[len(values) for values in boxes] for boxes in (saved, self._values())]
        if lengths[0] != lengths[1]:
            raise ValueError(
                f'the checkpoint contains boxes for data sets of {lengths[0]} images, but those of '
                f'this training have {lengths[1]}: resume with the same data, or start a new '
                'run with load_from and resume=False.'
            )
        for old, new in zip(self._values(), saved, strict=True):
            old.copy_(new)
        self.stages = [BoxStage(*stage) for stage in self._loaded['stages']]

    def before_train_epoch(self, runner) -> None:
        for one in self.datasets:
            one.boxes.in_use.fill_(runner.epoch >= count_epochs(self.warmup, runner.max_epochs))
        self._start = perf_counter()

    def after_train_epoch(self, runner) -> None:
        if is_due(runner.epoch + 1, runner.max_epochs, self.warmup, self.interval):
            self._refresh(runner, perf_counter() - self._start)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint['crop_boxes'] = dict(
            values=[values.clone() for values in self._values()],
            stages=[tuple(stage) for stage in self.stages],
        )

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self._loaded = checkpoint.get('crop_boxes')

    def find(self, model, batch: dict) -> tuple[Tensor, Tensor]:
        """A batch of B whole images -> (B, h, w) heat maps and (B, 4) boxes, on the CPU."""
        with observing(model, batch) as (model, images):
            maps = heat_map(model.backbone, images, self.heat_map, self.smooth)
        boxes = find_boxes(maps, images.shape[-2:], self.threshold, self.min_side)
        return maps.cpu(), boxes.cpu()

    def _refresh(self, runner, epoch_seconds: float) -> None:
        start = perf_counter()
        with (
            observing(runner.model) as (model, _),
            runner.optim_wrapper.optim_context(model),  # the precision of the training
        ):
            for one in self.datasets:
                self._search(runner, model, one)
            seconds = perf_counter() - start
            if self.num_images:
                self._draw(runner, model)
        num_images = sum(map(len, self._values()))
        fraction = seconds / (epoch_seconds * count_epochs(self.interval, runner.max_epochs))
        runner.logger.info(
            f'Boxes of {num_images:,} images found in {seconds:.1f} s: '
            f'{1e3 * seconds / num_images:.2f} ms per image, {seconds / epoch_seconds:.0%} of an '
            f'epoch, {fraction:.1%} of the training until the next search.'
        )
        self._describe(runner)

    def _search(self, runner, model, one: BoxedDataset) -> None:
        """Divide the search for boxes of a data set among all processes; each keeps all boxes."""
        training = runner.train_dataloader
        loader = shard(one.whole, batch_size=training.batch_size, num_workers=training.num_workers)
        indices, boxes = [], []
        for batch in loader:
            # A data set may replace an unreadable image with another one.
            indices += [sample.sample_idx for sample in batch['data_samples']]
            boxes.append(self.find(model, batch)[1])
        found = torch.cat(boxes) if boxes else torch.empty(0, 4)  # more processes than images
        for numbers, values in dist.all_gather_object((torch.tensor(indices).long(), found)):
            one.boxes.values[numbers] = values

    def _values(self) -> list[Tensor]:
        return [one.boxes.values for one in self.datasets]

    def _describe(self, runner) -> None:
        """Log how large the boxes are."""
        boxes = torch.cat(self._values())
        area = box_areas(boxes).mean().item()
        is_full = [are_full(one.boxes.values, one.size) for one in self.datasets]
        full = torch.cat(is_full).float().mean().item()
        runner.message_hub.update_scalar('train/box_area', area)
        runner.message_hub.update_scalar('train/full_boxes', full)
        runner.logger.info(f'box_area: {area:.4f}  full_boxes: {full:.4f}')
        if max(area, full) > TOO_LARGE:
            runner.logger.warning(
                f'Boxes cover {area:.0%} of the image on average, and {full:.0%} of them cover the '
                'whole image: crops fall almost anywhere. Raise threshold of RefreshCropsHook '
                f'({self.threshold}), or choose another heat_map ({self.heat_map!r}).'
            )

    def _draw(self, runner, model) -> None:
        """Add a column to the picture of boxes."""
        one = self.datasets[0]
        batch = sample_batch(one.whole, self.num_images)
        boxes = one.boxes.values[[sample.sample_idx for sample in batch['data_samples']]]
        heat_maps, _ = self.find(model, batch)
        self.stages.append(BoxStage(f'epoch {runner.epoch + 1}', heat_maps, boxes))
        picture = draw_box_stages(model, batch, self.stages)
        runner.visualizer.add_image('boxes', picture, step=runner.iter)


def count_epochs(number: float, max_epochs: int) -> int:
    """A number of epochs. A number between 0 and 1 is a fraction of all epochs, at least one."""
    return max(1, round(number * max_epochs)) if 0 < number < 1 else int(number)


def is_due(epoch: int, max_epochs: int, warmup: float, interval: float) -> bool:
    """Whether boxes are found after an epoch, counted from 1."""
    is_warm = epoch >= count_epochs(warmup, max_epochs)
    return is_warm and epoch < max_epochs and epoch % count_epochs(interval, max_epochs) == 0


def find_datasets(dataset) -> Iterator[BaseDataset]:
    """The data sets inside wrappers whose crops need boxes, each once. Each numbers its samples.

    Raises:
        TypeError: if a data set is not derived from mmengine's and so does not number its samples.
    """
    for one in innermost(dataset):
        if not isinstance(one, BaseDataset):
            raise TypeError(
                f'{type(one).__name__} does not number its samples, so boxes cannot be assigned: '
                'use a data set derived from mmengine.dataset.BaseDataset, such as '
                'mmmask.ImageFolder.'
            )
        if find_crops(one.pipeline):
            yield one


def find_crops(transform) -> list[ContrastiveCrop]:
    """Every ContrastiveCrop without a fixed box in a pipeline, also inside other transforms."""
    if isinstance(transform, ContrastiveCrop):
        return [transform] if transform.box is None else []
    children = transform if isinstance(transform, list | tuple) else _children(transform)
    return [crop for child in children for crop in find_crops(child)]


def _children(transform) -> list:
    inner = getattr(transform, 'transforms', [])
    return list(inner) if isinstance(inner, list | tuple) else [inner]


def box_dataset(dataset: BaseDataset) -> BoxedDataset:
    """Give every crop of a data set the same boxes: at first, whole images.

    Transforms before the views, or before the crop, are also applied to the whole images.
    """
    crops = find_crops(dataset.pipeline)
    boxes = full_boxes(len(dataset))
    for crop in crops:
        crop.boxes = boxes
    transforms = dataset.pipeline.transforms
    before = next(index for index, one in enumerate(transforms) if find_crops(one))
    first = crops[0]
    squash = dict(
        type='mmpretrain.Resize',
        scale=tuple(first.scale[::-1]),
        interpolation=first.interpolation,
        backend=first.backend,
    )
    whole = copy.copy(dataset)
    whole.pipeline = Compose(
        [*transforms[:before], squash, dict(type='mmpretrain.PackInputs', meta_keys=['sample_idx'])]
    )
    return BoxedDataset(boxes, whole, tuple(first.scale))
