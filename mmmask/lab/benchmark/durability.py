"""Cost of exact resumption."""

import tempfile
from collections.abc import Callable
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmmask.apis.train import set_defaults
from mmmask.doctor import ROOT

CONFIG = ROOT / 'configs' / 'demo' / 'mae_vit-tiny_digits.py'
PLAIN = {  # mmengine's own components instead of those of this project
    'train_cfg.type': 'EpochBasedTrainLoop',
    'train_dataloader.sampler.type': 'DefaultSampler',
    'default_hooks.checkpoint.type': 'CheckpointHook',
}


def prepare(plain: bool, batch_size: int, img_size: int, device: torch.device) -> Runner:
    """A runner of the demo of MAE that is ready for its first iteration."""
    cfg = Config.fromfile(CONFIG)
    cfg.model.backbone.img_size = img_size
    cfg.train_dataloader.update(batch_size=batch_size, num_workers=0)
    cfg.train_dataloader.dataset.pipeline[0].scale = img_size
    cfg.custom_hooks = [] if plain else [dict(type='mmmask.NonFiniteLossHook')]
    cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    if plain:
        cfg.merge_from_dict(PLAIN)
        for name in ('preemption', 'collapse', 'dead_masks', 'mask_statistics'):
            cfg.default_hooks.pop(name)
    cfg.visualizer.vis_backends = []
    # The folder is removed together with the runner.
    folder = tempfile.TemporaryDirectory()
    cfg.work_dir, cfg.log_level = folder.name, 'ERROR'
    cfg.experiment_name = f'durability_{plain}_{Path(folder.name).name}'
    set_defaults(cfg)
    runner = Runner.from_cfg(cfg)
    runner.folder = folder
    runner._train_loop = loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner.call_hook('before_run')
    runner._init_model_weights()
    runner.optim_wrapper.initialize_count_status(runner.model, 0, loop.max_iters)
    runner.call_hook('before_train')
    runner.call_hook('before_train_epoch')
    runner.model.train()
    return runner


def step_calls(batch_size: int, img_size: int, device: torch.device) -> dict[str, Callable]:
    """A training step with data, hooks and log."""

    def call(plain: bool) -> Callable:
        runner = prepare(plain, batch_size, img_size, device)
        loop = runner.train_loop
        batches = chain.from_iterable(map(iter, repeat(loop.dataloader)))
        return lambda: loop.run_iter(loop._iter % len(loop.dataloader), next(batches))

    return {'step without': call(True), 'step that can be resumed': call(False)}


def checkpoint_calls(batch_size: int, img_size: int, device: torch.device) -> dict[str, Callable]:
    """A checkpoint of the model and the optimizer after one step."""

    def call(plain: bool) -> Callable:
        runner = prepare(plain, batch_size, img_size, device)
        runner.train_loop.run_iter(0, next(iter(runner.train_dataloader)))
        kind = 'CheckpointHook' if plain else 'DurableCheckpointHook'
        (hook,) = (hook for hook in runner.hooks if type(hook).__name__ == kind)
        return partial(hook._save_checkpoint, runner)

    return {'checkpoint in place': call(True), 'durable checkpoint': call(False)}
