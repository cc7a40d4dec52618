"""A rehearsal of a run, to find problems that only real data show, within seconds."""

import datetime
import os
import resource
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler, pseudo_collate
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, IterBasedTrainLoop, Runner
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from mmmask.datasets import (
    ImageFolder,
    ResumableInfiniteSampler,
    ResumableSampler,
    find_repeats,
    innermost,
)
from mmmask.datasets.decoding import is_deep
from mmmask.engine.frozen_evaluation import DISTRACTORS, WHITENING
from mmmask.evaluation import unwrap
from mmmask.random_state import preserve_random_state

from .label_values import check_loading
from .out_of_memory import OutOfMemory, explained_memory

NUM_SAMPLES = 16  # images of a split whose labels are compared with the network
# Images of the step on a CPU, where memory is not scarce but a whole batch may take minutes.
CPU_BATCH = 8


class RehearsalError(ValueError):
    """A run cannot do what it is meant to. The message names every problem and its remedy."""


class RehearsalEnd(Exception):
    """Raised after the rehearsal if only the rehearsal was asked for."""


class Split(NamedTuple):
    """One data loader of a run and a few of its samples.

    Attributes:
        name: key of the config, such as ``'train_dataloader'``.
        loader: the data loader.
        samples: outputs of the pipeline, taken at equal distances over the data set.
    """

    name: str
    loader: Any
    samples: list[dict]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes in the order of their numbers, if the data set has them."""
        classes = (getattr(self.loader.dataset, 'metainfo', None) or {}).get('classes')
        return None if classes is None else tuple(classes)


class RehearsalHook(Hook):
    """Try a run on real data before it starts, and restore everything afterwards.

    Before a training, the hook makes one batch of each loader and checks that data, labels and
    network agree. It then runs one step forward and backward and one evaluation. Before a test, it
    does the same without the step. Weights, buffers, gradients and random states are restored, so
    the run is bitwise identical to one without a rehearsal.

    Args:
        arithmetic: text for the table that shows how the learning rate follows from the batch.
        only: end the run after the rehearsal by raising :class:`RehearsalEnd`.

    Raises:
        RehearsalError: before the run starts, if there are problems. The message names them all.
    """

    priority = 'HIGHEST'

    def __init__(self, arithmetic: str = '', only: bool = False) -> None:
        self.arithmetic = arithmetic
        self.only = only

    def before_train(self, runner: Runner) -> None:
        start = time.perf_counter()
        loaders = dict(train_dataloader=runner.train_loop.dataloader)
        if runner.val_loop is not None:
            loaders['val_dataloader'] = runner.val_loop.dataloader
        with unchanged(runner.model):
            maps = [*check_label_maps(runner.model, loaders)]
            splits = take_samples(loaders)
            problems = [*compare(runner.model, splits)]
            rows = describe_splits(splits) + maps
            measured = measured_features(runner.hooks)
            for _, others in measured:
                problems += compare(runner.model, others)
                rows += describe_splits(others)
            if not problems:
                rows += [*self._length(runner), *try_step(runner, splits[0])]
                if runner.val_loop is not None:
                    try_evaluation(runner, runner.val_loop, splits[1])
                try_features(runner, measured)
        self._finish(runner, problems, rows, start)

    def before_test(self, runner: Runner) -> None:
        # A test that follows its training; runner.iter would build the loop of one.
        if isinstance(runner._train_loop, BaseLoop):
            return
        start, loop = time.perf_counter(), runner.test_loop
        with unchanged(runner.model):
            measured = measured_features([loop])
            loaders, maps = dict(test_dataloader=loop.dataloader), []
            if not measured:
                maps = [*check_label_maps(runner.model, loaders)]
            splits = measured[0][1] if measured else take_samples(loaders)
            problems = [*compare(runner.model, splits)]
            if not problems:
                try_features(runner, measured)
                if getattr(loop, 'evaluator', None) is not None:
                    try_evaluation(runner, loop, splits[0])
        self._finish(runner, problems, describe_splits(splits) + maps, start)

    def _length(self, runner: Runner) -> Iterator[tuple[str, str]]:
        loop = runner.train_loop
        if isinstance(loop, IterBasedTrainLoop):
            yield 'length', f'{loop.max_iters:,} iterations'
        else:
            per_epoch = len(loop.dataloader)
            yield 'length', f'{loop.max_epochs} epochs of {per_epoch:,} iterations'
        yield 'batch and learning rate', self.arithmetic
        optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
        yield 'optimizer', f'{type(runner.optim_wrapper).__name__}({type(optimizer).__name__})'
        for name, child in unwrap(runner.model).named_children():
            trained = sum(p.numel() for p in child.parameters() if p.requires_grad)
            frozen = sum(p.numel() for p in child.parameters() if not p.requires_grad)
            if trained or frozen:
                yield f'parameters of {name}', f'{trained:,} trained, {frozen:,} frozen'

    def _finish(self, runner: Runner, problems: list[str], rows: list, start: float) -> None:
        if problems:
            raise RehearsalError(in_words(problems))
        if is_main_process():
            table = Table(title='Rehearsal', show_header=False)
            for row in rows:
                table.add_row(*row)
            table.add_row('rehearsal', f'{time.perf_counter() - start:.1f} s')
            Console().print(table)
        if self.only:
            raise RehearsalEnd


def in_words(problems: list[str]) -> str:
    """A text that states every problem on a line of its own."""
    count = '1 problem' if len(problems) == 1 else f'{len(problems)} problems'
    return '\n'.join([f'The rehearsal found {count}:', *(f'  - {one}' for one in problems)])


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """On exit, restore weights, buffers and modes of a model and random states; clear gradients."""
    model = unwrap(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = {module: module.training for module in model.modules()}
    with preserve_random_state():
        try:
            yield
        finally:
            own = model.state_dict()
            with torch.no_grad():
                for name, value in state.items():
                    own[name].copy_(value)
            model.zero_grad(set_to_none=True)
            for module, mode in modes.items():
                module.training = mode


def measured_features(parts: Iterable) -> list[tuple[Any, list[Split]]]:
    """The loops and hooks that measure features of data sets of their own, with samples of each."""
    return [(one, take_samples(one.loaders())) for one in parts if hasattr(one, 'loaders')]


def take_samples(loaders: dict) -> list[Split]:
    """A few samples of each loader, made in this process.

    Raises:
        RehearsalError: if a sample cannot be made.
    """
    splits = []
    for name, loader in loaders.items():
        dataset = loader.dataset
        count = min(max(loader.batch_size or 1, NUM_SAMPLES), len(dataset))
        if not torch.cuda.is_available():
            count = min(count, NUM_SAMPLES)
        indices = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
        with explained(f'{name}: its samples cannot be prepared'):
            splits.append(Split(name, loader, [dataset[index] for index in indices]))
    return splits


@contextmanager
def explained(what: str, model: nn.Module | None = None) -> Iterator[None]:
    """Turn an error into a problem of the rehearsal, and name the part of the model it is from."""
    try:
        yield
    except (RehearsalError, OutOfMemory):
        raise
    except Exception as error:
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        names = {module: name for name, module in model.named_modules()} if model else {}
        callers = (frame.f_locals.get('self') for frame, _ in walk_tb(error.__traceback__))
        parts = [names[one] for one in callers if isinstance(one, nn.Module) and names.get(one)]
        place = f' in model.{parts[-1]}' if parts else ''
        raise RehearsalError(in_words([f'{what}{place}: {reason}'])) from error


def describe_splits(splits: list[Split]) -> list[tuple[str, str]]:
    """Rows of the table: numbers of images and classes, and sizes and channels of the samples."""
    rows = []
    for split in splits:
        text = f'{len(split.loader.dataset):,} images'
        if split.classes is not None:
            text += f', {len(split.classes)} classes'
        sizes = sorted({tuple(image.shape[-2:]) for image in images_of(split.samples)})
        channels = sorted({image.shape[-3] for image in images_of(split.samples)})
        if sizes:
            shown = ' to '.join(f'{h} x {w}' for h, w in dict.fromkeys([sizes[0], sizes[-1]]))
            text += f', {shown} px, {"/".join(map(str, channels))} channels'
        rows.append((split.name, text))
    return rows


def images_of(samples: list[dict]) -> list[Tensor]:
    """All images and views in samples of a pipeline that ends in ``PackInputs``."""
    found = []
    for sample in samples:
        inputs = sample.get('inputs')
        found += [inputs] if isinstance(inputs, Tensor) else list(inputs or [])
    return [image for image in found if isinstance(image, Tensor) and image.dim() >= 3]


def compare(model: nn.Module, splits: list[Split]) -> Iterator[str]:
    """Compare data, labels and network; yield a message for each difference."""
    model = unwrap(model)
    for check in (
        compare_channels,
        compare_depths,
        compare_classes,
        compare_labels,
        compare_batches,
        compare_repeats,
    ):
        yield from check(model, splits)


def compare_channels(model: nn.Module, splits: list[Split]) -> Iterator[str]:
    """Check that images, the subtracted mean and the first layer have equally many channels."""
    preprocessor = model.data_preprocessor
    mean = getattr(preprocessor, 'mean', None)
    layer = next((m for m in model.backbone.modules() if isinstance(m, nn.Conv2d)), None)
    for split in splits:
        for channels in sorted({image.shape[-3] for image in images_of(split.samples)}):
            if mean is not None and mean.numel() not in (1, channels):
                yield (
                    f'{split.name}: images have {channels} channels, but model.data_preprocessor.'
                    f'mean has {mean.numel()} values. Give mean and std one value per channel.'
                )
            elif channels != 3 and getattr(preprocessor, '_channel_conversion', False):
                yield (
                    f'{split.name}: images have {channels} channels, but model.data_preprocessor '
                    'turns BGR into RGB, which needs three. Set its bgr_to_rgb=False.'
                )
            elif layer is not None and layer.in_channels != channels:
                yield (
                    f'{split.name}: images have {channels} channels, but the network takes '
                    f'{layer.in_channels}. Set model.backbone.in_channels={channels}.'
                )


def compare_depths(model: nn.Module, splits: list[Split]) -> Iterator[str]:
    """Check that what mmcv loads has 8 bits: it scales other files by their type."""
    for split in splits:
        if any(isinstance(one, ImageFolder) for one in innermost(split.loader.dataset)):
            continue  # it reads files itself, and its range is stated
        samples = [sample.get('data_samples') for sample in split.samples]
        paths = [one.get('img_path') for one in samples if hasattr(one, 'get')]
        deep = [path for path in paths if path and os.path.isfile(path) and is_deep(path)]
        if deep:
            yield (
                f'{split.name}: {len(deep)} of {len(paths)} samples, such as {deep[0]}, have more '
                'than 8 bits per channel, of which mmcv keeps the upper 8, whatever range the '
                'values have: convert the images of the data set to 8 bits by their common range.'
            )


def compare_classes(model: nn.Module, splits: list[Split]) -> Iterator[str]:
    """Check that all splits have the same classes in the same order, and heads as many."""
    without = DISTRACTORS, WHITENING
    known = [s for s in splits if s.classes is not None and s.name not in without]
    for split in known[1:]:
        first = known[0]
        if split.classes != first.classes:
            missing = [name for name in first.classes if name not in split.classes]
            new = [name for name in split.classes if name not in first.classes]
            difference = ', '.join(
                f'{word} {names[:5]}'
                for word, names in (('lacks', missing), ('adds', new))
                if names
            )
            yield (
                f'{split.name} has other classes than {first.name}: it '
                f'{difference or "has them in another order"}. The same label would mean '
                f'different classes: give both the same dataset.metainfo.classes.'
            )
    for path, count in num_classes_of(model).items():
        for split in known[:1]:
            if count != len(split.classes):
                shown = ', '.join(map(str, split.classes[:5]))
                more = ', …' if len(split.classes) > 5 else ''
                yield (
                    f'{path}.num_classes={count}, but {split.name} has {len(split.classes)} '
                    f'classes ({shown}{more}). Set it to {len(split.classes)}.'
                )


def num_classes_of(model: nn.Module) -> dict[str, int]:
    """Number of classes of each classifying head, by its path in the model."""
    counts = {}
    for path, module in model.named_modules():
        count = getattr(module, 'num_classes', None)
        is_head = path.split('.')[-1].endswith('head') or '_head.' in path
        # The proposals of a region proposal network have a single class: foreground.
        if is_head and isinstance(count, int) and count > 0 and 'rpn' not in path:
            counts[f'model.{path}'] = count
    return counts


def compare_labels(model: nn.Module, splits: list[Split]) -> Iterator[str]:
    """Check that labels of images, instances and pixels are in the range of the heads."""
    if (head := smallest_head(model)) is None:
        return
    (path, count), ignored = head, ignored_labels(model)
    for split in splits:
        unknown = set()
        for sample in split.samples:
            unknown |= set(labels_of(sample.get('data_samples'))) - set(range(count)) - ignored
        if unknown:
            yield (
                f'{split.name}: labels {sorted(unknown)[:5]} are not among the {count} classes of '
                f'{path} (0 to {count - 1}), and are not ignored. Correct the labels, set '
                'num_classes, or name the value in ignore_index.'
            )


def check_label_maps(model: nn.Module, loaders: dict) -> Iterator[tuple[str, str]]:
    """Check the label maps that mmseg loads, some now and all when they are loaded; yield rows.

    Raises:
        RehearsalError: if a map has a value that is neither a class nor ignored.
    """
    model = unwrap(model)
    if (head := smallest_head(model)) is None:
        return
    path, count = head
    for name, loader in loaders.items():
        try:
            checked = [*check_loading(loader.dataset, count, ignored_labels(model), path)]
        except ValueError as error:
            raise RehearsalError(in_words([f'{name}: {error}'])) from error
        for read, total in checked:
            rest = '' if read == total else ', the others when they are loaded'
            yield f'label maps of {name}', f'{read:,} of {total:,} checked{rest}'


def smallest_head(model: nn.Module) -> tuple[str, int] | None:
    """The path of the head with the fewest classes, and their number; None without heads."""
    counts = num_classes_of(model)
    return min(counts.items(), key=lambda item: item[1]) if counts else None


def ignored_labels(model: nn.Module) -> set[int]:
    """The labels that heads and losses of a model ignore."""
    return {getattr(module, 'ignore_index', None) for module in model.modules()} - {None}


def labels_of(sample) -> list[int]:
    """The labels of an image, of its instances and of its pixels."""
    labels = []
    for get in (
        lambda: sample.gt_label,
        lambda: sample.gt_instances.labels,
        lambda: sample.gt_sem_seg.data,
    ):
        try:
            labels += get().unique().tolist()
        except AttributeError:
            continue
    return labels


def compare_batches(model: nn.Module, splits: list[Split]) -> Iterator[str]:
    """Check, by a step, that norms over a batch can work on one image if a batch has only one."""
    split, loader = splits[0], splits[0].loader
    if split.name != 'train_dataloader' or smallest_batch(loader) > 1:
        return
    which = 'every batch' if loader.batch_size in (None, 1) else 'the last batch of an epoch'
    model.train()
    try:
        with torch.no_grad():
            data = (loader.collate_fn or pseudo_collate)(split.samples[:1])
            model._run_forward(model.data_preprocessor(data, True), mode='loss')
    except Exception as error:  # others occur with any number of images, and have a message there
        if str(error).startswith('Expected more than 1 value per channel'):
            yield (
                f'train_dataloader.batch_size={loader.batch_size or 1}: {which} has one image in a '
                'process, and a norm of the network needs several values in each channel. Choose '
                'another batch size, or set train_dataloader.drop_last=True.'
            )


def smallest_batch(loader) -> int:
    """The number of images in the smallest batch that a process gets from a loader."""
    if not loader.batch_size:  # the data set or the batch sampler makes batches
        return getattr(loader.batch_sampler, 'batch_size', None) or 2
    last = len(loader.sampler) % loader.batch_size
    is_whole = loader.drop_last or isinstance(loader.sampler, InfiniteSampler) or not last
    return loader.batch_size if is_whole else last


def compare_repeats(model: nn.Module, splits: list[Split]) -> Iterator[str]:
    """Check that a data set with ``repeats`` has a sampler that reads them."""
    for split in splits:
        repeats = find_repeats(split.loader.dataset)
        sampler = getattr(split.loader.batch_sampler, 'sampler', split.loader.sampler)
        if repeats > 1 and not isinstance(sampler, ResumableSampler | ResumableInfiniteSampler):
            yield (
                f'{split.name}: dataset.repeats={repeats} is not read by {type(sampler).__name__}. '
                'Set it to 1, or sampler.type to mmmask.ResumableSampler.'
            )


def try_step(runner: Runner, split: Split) -> Iterator[tuple[str, str]]:
    """Run a step forward and backward; yield rows with memory, time and the estimated end.

    Raises:
        OutOfMemory: if the step does not fit into the memory.
        RehearsalError: if it fails for another reason, or its loss is not finite.
    """
    model, wrapper, loader = unwrap(runner.model), runner.optim_wrapper, split.loader
    batch_size = loader.batch_size or 1
    samples = split.samples[:batch_size]
    if not torch.cuda.is_available():
        samples = samples[:CPU_BATCH]
    with explained('a step of the training fails', model), explained_memory(runner):
        for _ in range(2):  # the first one also allocates
            start = time.perf_counter()
            model.train()
            with wrapper.optim_context(model):
                data = model.data_preprocessor((loader.collate_fn or pseudo_collate)(samples), True)
                losses = model._run_forward(data, mode='loss')
            loss, values = model.parse_losses(losses)
            loss.backward()
            model.zero_grad(set_to_none=True)
            seconds = time.perf_counter() - start
    if not torch.isfinite(loss):
        shown = ', '.join(f'{name}={value.item():.4g}' for name, value in values.items())
        remedy = 'Compare model.data_preprocessor.mean and std with the values of the images.'
        raise RehearsalError(in_words([f'the loss of a step is not finite: {shown}. {remedy}']))
    step = seconds * batch_size / len(samples)
    left = runner.max_iters - runner.iter
    end = datetime.datetime.now() + datetime.timedelta(seconds=step * left)
    note = '' if len(samples) == batch_size else f', from {len(samples)} images'
    yield 'memory', f'{peak_memory() / 2**30:.1f} GiB'
    yield 'a step', f'{step:.3g} s without data loading{note}'
    yield 'estimated end', f'{end:%Y-%m-%d %H:%M} ({left:,} iterations left)'


def peak_memory() -> int:
    """Maximum number of bytes used by the process, on its GPU if there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def try_evaluation(runner: Runner, loop, split: Split) -> None:
    """Predict a batch and evaluate the predictions.

    Raises:
        RehearsalError: if this fails.
    """
    model, samples = unwrap(runner.model), split.samples[: split.loader.batch_size or 1]
    with explained(f'the evaluation of {split.name} fails', model), torch.no_grad():
        model.eval()
        batch = (split.loader.collate_fn or pseudo_collate)(samples)
        loop.evaluator.process(data_samples=model.val_step(batch), data_batch=batch)
        loop.evaluator.evaluate(len(samples))


def try_features(runner: Runner, measured: list[tuple[Any, list[Split]]]) -> None:
    """Describe a batch of each data set whose features are measured.

    Raises:
        RehearsalError: if this fails.
    """
    for part, splits in measured:
        samples = {one.name: one.samples[: one.loader.batch_size or 1] for one in splits}
        with explained(f'{type(part).__name__} fails'):
            part.rehearse(unwrap(runner.model), samples)
