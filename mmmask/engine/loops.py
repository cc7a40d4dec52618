"""Training by epochs or by iterations, which resumes from any step."""

import atexit
import multiprocessing
import signal
from collections.abc import Iterator

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch import nn
from torch.utils.data import DataLoader

from mmmask.datasets import ResumableBatchSampler, ResumableInfiniteSampler
from mmmask.random_state import preserve_random_state
from mmmask.registry import FUNCTIONS, LOOPS


class ResumableLoop:
    """The part that training loops by epochs and by iterations share."""

    def __init__(self, runner, dataloader, *args, **kwargs) -> None:
        super().__init__(runner, make_resumable(dataloader), *args, **kwargs)

    def _batches(self, first: int) -> Iterator:
        """The batches from number ``first`` on; those before it are not loaded."""
        if first:
            skip(self.dataloader, first)
        with preserve_random_state():
            return iter(self.dataloader)

    def _validate(self, step: int, last: int) -> None:
        """Run the validation that is due after a number of epochs or iterations, if any."""
        due = step % self.val_interval == 0 or step == last
        if self.runner.val_loop is not None and step >= self.val_begin and due:
            with preserve_random_state():
                self.runner.val_loop.run()


@LOOPS.register_module()
class ResumableTrainLoop(ResumableLoop, EpochBasedTrainLoop):
    """mmengine's loop by epochs, which can also start in the middle of an epoch.

    A batch is a function of the seed, the epoch and its position in the epoch. Each sample is
    loaded through a :class:`mmmask.datasets.SeededDataset`, and neither loaders nor validation
    change the random states that the model uses. Batches before the start are not loaded.

    Raises:
        ValueError: if an epoch has no batch, or on resuming in the middle of an epoch with a
            sampler that cannot skip.
    """

    def __init__(self, runner, dataloader, *args, **kwargs) -> None:
        super().__init__(runner, dataloader, *args, **kwargs)
        if not len(self.dataloader):
            raise ValueError(
                f'train_dataloader has no batch: {len(self.dataloader.dataset)} images are fewer '
                f'than batch_size={self.dataloader.batch_size}, and drop_last=True leaves out the '
                'incomplete one. Lower train_dataloader.batch_size.'
            )

    def run(self) -> nn.Module:
        """Train all epochs that are left."""
        self.runner.call_hook('before_train')
        if self._iter and self._iter == self._epoch * len(self.dataloader):
            # The run may have ended between the checkpoint and the validation.
            self._validate(self._epoch, self._max_epochs)
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            self._validate(self._epoch, self._max_epochs)
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train the rest of an epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        first = self._iter - self._epoch * len(self.dataloader)
        for index, batch in enumerate(self._batches(first), first):
            self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


@LOOPS.register_module()
class ResumableIterTrainLoop(ResumableLoop, IterBasedTrainLoop):
    """mmengine's loop by iterations, in which a batch is a function of the seed and its number.

    Otherwise it works as :class:`ResumableTrainLoop`. The sampler, which has no epochs, is
    :class:`mmmask.datasets.ResumableInfiniteSampler`.

    Raises:
        ValueError: with another sampler.
    """

    def __init__(self, runner, dataloader, *args, **kwargs) -> None:
        super().__init__(runner, dataloader, *args, **kwargs)
        sampler = self.dataloader.batch_sampler.sampler
        if not isinstance(sampler, ResumableInfiniteSampler):
            raise ValueError(
                f'train_dataloader.sampler.type={type(sampler).__name__!r} does not work with '
                "train_cfg.type='mmmask.ResumableIterTrainLoop': set it to "
                "'mmmask.ResumableInfiniteSampler', or train by epochs."
            )

    def run(self) -> nn.Module:
        """Train all iterations that are left."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        if self._iter:
            # The run may have ended between the checkpoint and the validation.
            self._validate(self._iter, self._max_iters)
        batches = self._batches(self._iter)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(batches))
            self._decide_current_val_interval()
            self._validate(self._iter, self._max_iters)
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model


def make_resumable(dataloader: DataLoader | dict) -> DataLoader | dict:
    """The config of a loader with samples seeded one by one and batches that can be skipped."""
    atexit.register(end_workers)
    if not isinstance(dataloader, dict):
        return dataloader
    dataset = dict(type='mmmask.SeededDataset', dataset=dataloader['dataset'])
    dataloader = {**dataloader, 'dataset': dataset}
    if batches := dataloader.get('batch_sampler'):
        dataloader['batch_sampler'] = dict(type='mmmask.ResumableBatchSampler', batches=batches)
    return dataloader


def skip(dataloader: DataLoader, num_batches: int) -> None:
    """Make a loader start after some batches, without loading them.

    Raises:
        ValueError: if its sampler cannot skip.
    """
    sampler, batches = dataloader.sampler, dataloader.batch_sampler
    if isinstance(batches, ResumableBatchSampler):
        batches.skip(num_batches)
    elif hasattr(sampler, 'skip'):
        sampler.skip(num_batches * dataloader.batch_size)
    else:
        raise ValueError(
            f'The checkpoint was written after {num_batches} of {len(dataloader)} iterations of an '
            f'epoch, but train_dataloader.sampler.type={type(sampler).__name__!r} can only start '
            "at the first one: set it to 'mmmask.ResumableSampler', or resume from a checkpoint "
            'that is named after an epoch.'
        )


@FUNCTIONS.register_module()
def leave_signals_to_the_parent(worker_id: int) -> None:
    """Ignore the signals of a scheduler: a worker that dies of one would end the training."""
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def end_workers() -> None:
    """Kill persistent workers, which ignore the SIGTERM of an exiting parent."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler would report their death
    for worker in multiprocessing.active_children():
        worker.kill()
