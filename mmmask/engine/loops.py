"""Training epoch by epoch or by iterations, from wherever a checkpoint left off."""

import atexit
import multiprocessing
import signal

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch import nn
from torch.utils.data import DataLoader

from mmmask.datasets import ResumableBatchSampler, ResumableInfiniteSampler
from mmmask.random_state import preserve_random_state
from mmmask.registry import FUNCTIONS, LOOPS


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """mmengine's loop, which can start in the middle of an epoch.

    A batch is a function of the seed, the epoch and its place there: each sample is drawn through a
    :class:`mmmask.datasets.SeededDataset`, and neither loaders nor validation touch the random
    numbers that the model draws from. Data that was seen before is skipped without loading it.

    Raises:
        ValueError: on resuming in the middle of an epoch with a sampler that cannot skip.
    """

    def __init__(self, runner, dataloader, *args, **kwargs) -> None:
        super().__init__(runner, make_resumable(dataloader), *args, **kwargs)

    def run(self) -> nn.Module:
        """Train all epochs that are left."""
        self.runner.call_hook('before_train')
        if self._iter and self._iter == self._epoch * len(self.dataloader):
            self._validate()  # the run may have ended between the checkpoint and the validation
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            self._validate()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train what is left of an epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        first = self._iter - self._epoch * len(self.dataloader)
        if first:
            skip(self.dataloader, first)
        with preserve_random_state():
            batches = iter(self.dataloader)
        for index, batch in enumerate(batches, first):
            self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _validate(self) -> None:
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if self.runner.val_loop is not None and self._epoch >= self.val_begin and due:
            with preserve_random_state():
                self.runner.val_loop.run()


@LOOPS.register_module()
class ResumableIterTrainLoop(IterBasedTrainLoop):
    """mmengine's loop by iterations, in which a batch is a function of the seed and its number.

    Otherwise as :class:`ResumableTrainLoop`. The data have no epochs:
    :class:`mmmask.datasets.ResumableInfiniteSampler` draws them.

    Raises:
        ValueError: with another sampler.
    """

    def __init__(self, runner, dataloader, *args, **kwargs) -> None:
        super().__init__(runner, make_resumable(dataloader), *args, **kwargs)
        sampler = self.dataloader.batch_sampler.sampler
        if not isinstance(sampler, ResumableInfiniteSampler):
            raise ValueError(
                f'train_dataloader.sampler.type={type(sampler).__name__!r} does '
                "not go with train_cfg.type='mmmask.ResumableIterTrainLoop': write "
                "'mmmask.ResumableInfiniteSampler', or train by epochs."
            )

    def run(self) -> nn.Module:
        """Train all iterations that are left."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        if self._iter:
            self._validate()  # the run may have ended between the checkpoint and the validation
            skip(self.dataloader, self._iter)
        with preserve_random_state():
            batches = iter(self.dataloader)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(batches))
            self._decide_current_val_interval()
            self._validate()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _validate(self) -> None:
        due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        if self.runner.val_loop is not None and self._iter >= self.val_begin and due:
            with preserve_random_state():
                self.runner.val_loop.run()


def make_resumable(dataloader: DataLoader | dict) -> DataLoader | dict:
    """A loader's config with samples seeded one by one, and with batches that can be skipped."""
    atexit.register(end_workers)
    if not isinstance(dataloader, dict):
        return dataloader
    dataset = dict(type='mmmask.SeededDataset', dataset=dataloader['dataset'])
    dataloader = {**dataloader, 'dataset': dataset}
    if batches := dataloader.get('batch_sampler'):
        dataloader['batch_sampler'] = dict(type='mmmask.ResumableBatchSampler', batches=batches)
    return dataloader


def skip(dataloader: DataLoader, num_batches: int) -> None:
    """Let a loader begin after some batches, without loading them.

    Raises:
        ValueError: if its sampler cannot.
    """
    sampler, batches = dataloader.sampler, dataloader.batch_sampler
    if isinstance(batches, ResumableBatchSampler):
        batches.skip(num_batches)
    elif hasattr(sampler, 'skip'):
        sampler.skip(num_batches * dataloader.batch_size)
    else:
        raise ValueError(
            f'The checkpoint is of iteration {num_batches} of {len(dataloader)} of an epoch, and '
            f'train_dataloader.sampler.type={type(sampler).__name__!r} can only start at the '
            "first: write 'mmmask.ResumableSampler', or resume from a checkpoint named after an "
            'epoch.'
        )


@FUNCTIONS.register_module()
def leave_signals_to_the_parent(worker_id: int) -> None:
    """A scheduler signals every process; a worker that dies of it would bring the training down."""
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def end_workers() -> None:
    """Kill persistent workers, which ignore the SIGTERM of a parent that exits."""
    for worker in multiprocessing.active_children():
        worker.kill()
