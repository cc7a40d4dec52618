"""Training epoch by epoch, from wherever a checkpoint left off."""

import atexit
import multiprocessing
import signal

from mmengine.runner import EpochBasedTrainLoop
from torch import nn

from mmmask.registry import FUNCTIONS, LOOPS

from .hooks.random_state import preserve_random_state


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
        if isinstance(dataloader, dict):
            dataset = dict(type='mmmask.SeededDataset', dataset=dataloader['dataset'])
            dataloader = {**dataloader, 'dataset': dataset}
        atexit.register(end_workers)
        super().__init__(runner, dataloader, *args, **kwargs)

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
            self._skip(first)
        with preserve_random_state():
            batches = iter(self.dataloader)
        for index, batch in enumerate(batches, first):
            self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _skip(self, num_batches: int) -> None:
        sampler = self.dataloader.sampler
        if not hasattr(sampler, 'skip'):
            raise ValueError(
                f'The checkpoint is of iteration {num_batches} of {len(self.dataloader)} of an '
                f'epoch, and train_dataloader.sampler.type={type(sampler).__name__!r} can only '
                "start at the first: write 'mmmask.ResumableSampler', or resume from a checkpoint "
                'named after an epoch.'
            )
        sampler.skip(num_batches * self.dataloader.batch_size)

    def _validate(self) -> None:
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if self.runner.val_loop is not None and self._epoch >= self.val_begin and due:
            with preserve_random_state():
                self.runner.val_loop.run()


@FUNCTIONS.register_module()
def leave_signals_to_the_parent(worker_id: int) -> None:
    """A scheduler signals every process; a worker that dies of it would bring the training down."""
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def end_workers() -> None:
    """Kill persistent workers, which ignore the SIGTERM of a parent that exits."""
    for worker in multiprocessing.active_children():
        worker.kill()
