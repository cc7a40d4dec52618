"""Checkpoints that are either complete or absent and contain all that resuming a run needs."""

from pathlib import Path

from mmengine import dist
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook

from mmmask.checkpoints import (
    UNFINISHED,
    CheckpointError,
    checksum_of,
    read_checkpoints_as_data,
    take_whole,
    why_not_intact,
    write_file,
    write_with_checksum,
)
from mmmask.evaluation import unwrap
from mmmask.random_state import get_random_state, set_random_state
from mmmask.registry import HOOKS

from ..resuming import Resumption, describe_loader

KEPT = 'kept_checkpoints'


class DurableBackend(LocalBackend):
    """Local files that appear when they are complete, each with a checksum beside it."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_with_checksum(filepath, obj)

    def remove(self, filepath: str | Path) -> None:
        super().remove(filepath)
        checksum_of(filepath).unlink(missing_ok=True)


@HOOKS.register_module()
class DurableCheckpointHook(CheckpointHook):
    """A ``CheckpointHook`` of mmengine that lets a run resume as if it had not been stopped.

    A checkpoint also contains the random states of all processes and the seed of the sampler. The
    position in the epoch follows from its iteration. A checkpoint is written under another name,
    flushed to the disk and renamed. Its SHA-256 and ``last_checkpoint`` are written next. Only
    then is the oldest checkpoint beyond ``max_keep_ckpts``, or the former best, removed.

    Where gradients are accumulated, a checkpoint waits for the optimizer step, up to a few
    iterations into the next epoch.

    ``--resume`` without a file uses the checkpoint that ``last_checkpoint`` names. If that one is
    damaged or missing, the newest intact checkpoint of the folder is used. The log names every
    file that is skipped.

    Raises:
        CheckpointError: on resuming, if there are checkpoints but none is intact, or if the newest
            cannot be resumed with the config; see :class:`mmmask.engine.resuming.Resumption`.
    """

    def __init__(self, backend_args: dict | None = None, **kwargs) -> None:
        super().__init__(backend_args=backend_args or dict(backend='durable'), **kwargs)
        self._loaded = self._resumption = self._state = None
        self._postponed = None
        self._saved_iteration = None

    # Resuming

    def before_run(self, runner) -> None:
        read_checkpoints_as_data()
        if not runner._resume:
            return
        if runner._load_from is None:
            found = [find_intact_checkpoint(runner.work_dir, runner.logger)]
            dist.broadcast_object_list(found)  # processes must agree even where folders differ
            runner._load_from = found[0]
            runner._resume = found[0] is not None
        elif '://' not in runner._load_from and (reason := why_not_intact(runner._load_from)):
            raise CheckpointError(
                f'{runner._load_from} is not a checkpoint to resume from: {reason}. '
                '--resume without a file uses the newest intact one.'
            )

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if runner._resume:
            self._loaded = checkpoint.get('resume')
            self._resumption = Resumption(runner, checkpoint, runner._load_from)
        elif runner._load_from:
            take_whole(unwrap(runner.model), checkpoint, runner._load_from)

    def before_train(self, runner) -> None:
        register_backend('durable', DurableBackend, force=True)
        super().before_train(runner)
        self._remove_old(runner)
        if dist.is_main_process():
            for path in Path(self.out_dir).glob(f'.*.pth.*{UNFINISHED}'):
                path.unlink()
        if self._resumption is not None:
            self._resumption.replan()
        if runner.iter:
            self._restore(runner)

    def _restore(self, runner) -> None:
        state = self._loaded
        if state is None:
            runner.logger.warning('The checkpoint contains no random states: masks will differ.')
            return
        if len(state['random']) == dist.get_world_size():
            set_random_state(state['random'][dist.get_rank()])
        if hasattr(runner.train_dataloader.sampler, 'seed'):
            runner.train_dataloader.sampler.seed = state['sampler_seed']

    # Saving

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if self._postponed is not None and runner.optim_wrapper.should_update():
            name, self._postponed = self._postponed, None
            self._save(runner, name, dict(epoch=runner.epoch, iter=runner.iter + 1))

    def save_now(self, runner) -> None:
        """Save within an epoch, after the optimizer step, unless this step is already saved."""
        if self._saved_iteration != runner.iter + 1:
            meta = dict(epoch=runner.epoch, iter=runner.iter + 1)
            self._save(runner, f'iter_{runner.iter + 1}.pth', meta)

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        name = self.filename_tmpl.format(step)
        if runner.optim_wrapper.should_update():
            self._save(runner, name, meta)
        else:
            self._postponed = name

    def _save(self, runner, name: str, meta: dict) -> None:
        self._state = dict(
            random=dist.all_gather_object(get_random_state()),
            sampler_seed=getattr(runner.train_dataloader.sampler, 'seed', None),
            loader=describe_loader(runner),
        )
        kept = [other for other in self._kept(runner) if other != name]
        runner.message_hub.update_info(KEPT, [*kept, name])
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._saved_iteration = meta['iter']
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if dist.is_main_process():
            pointer = Path(runner.work_dir, 'last_checkpoint')
            write_file(pointer, lambda file: file.write(self.last_ckpt.encode()))
        self._remove_old(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        lists = checkpoint.get('param_schedulers', [])  # by optimizer, if there are several
        for states in lists.values() if isinstance(lists, dict) else [lists]:
            for state in states:
                state.pop('anneal_func', None)  # of OneCycleLR: code, which follows from the config
        if self._state and 'optimizer' in checkpoint:  # a run does not resume from the best weights
            checkpoint['resume'] = self._state

    def _kept(self, runner) -> list[str]:
        return list(runner.message_hub.runtime_info.get(KEPT, []))

    def _remove_old(self, runner) -> None:
        kept = self._kept(runner)
        while 0 < self.max_keep_ckpts < len(kept):
            self._remove(self.file_backend.join_path(self.out_dir, kept.pop(0)))
        runner.message_hub.update_info(KEPT, kept)

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        """Save the best as mmengine does, but remove the former best only after that."""
        if not self.save_best:
            return
        name = 'best_ckpt_path' if hasattr(self, 'best_ckpt_path') else 'best_ckpt_path_dict'
        former = getattr(self, name)
        setattr(self, name, dict.fromkeys(former) if isinstance(former, dict) else None)
        super()._save_best_checkpoint(runner, metrics)
        latest = getattr(self, name)
        if isinstance(former, dict):
            setattr(self, name, {key: latest[key] or former[key] for key in latest})
            replaced = [former[key] for key in latest if latest[key] not in (None, former[key])]
        else:
            setattr(self, name, latest or former)
            replaced = [former] if latest not in (None, former) else []
        for path in filter(None, replaced):
            self._remove(path)

    @dist.master_only
    def _remove(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)


def find_intact_checkpoint(work_dir: str | Path, logger) -> str | None:
    """Find the checkpoint that ``last_checkpoint`` names, or else the newest intact one.

    Returns:
        Its path, or None if there is no checkpoint.

    Raises:
        CheckpointError: if there are checkpoints but none is intact.
    """
    pointer = Path(work_dir, 'last_checkpoint')
    last = Path(pointer.read_text().strip()) if pointer.is_file() else None
    folders = {Path(work_dir)} if last is None else {Path(work_dir), last.parent}
    files = {path for folder in folders for path in folder.glob('*_*.pth')}
    files = [path for path in files if path.stem.split('_')[-1].isdigit()]
    files = [path for path in files if not path.name.startswith('best_') and path != last]
    files.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    if last is not None:
        files.insert(0, last)
    for path in files:
        reason = why_not_intact(path)
        if reason is None:
            logger.info(f'Resuming from {path}.')
            return str(path)
        logger.warning(f'Skipping the checkpoint {path}: {reason}.')
    if files:
        raise CheckpointError(
            f'none of the {len(files)} checkpoints of {work_dir} is intact: restore one from a '
            'copy, or start again without --resume.'
        )
    logger.info(f'There is no checkpoint in {work_dir} yet: starting from the beginning.')
    return None
