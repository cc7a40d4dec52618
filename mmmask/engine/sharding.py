"""Training states that are divided among processes, for models that one GPU cannot hold.

Checkpoints are those of a training without sharding: one file with whole tensors, which every tool
reads and which any number of processes resumes, with or without sharding.
"""

from collections.abc import Iterable
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIMIZERS as ALL_OPTIMIZERS
from torch import Tensor, nn
from torch.distributed.optim import ZeroRedundancyOptimizer

from mmmask.doctor import tool
from mmmask.layers import MomentumCopy
from mmmask.registry import OPTIMIZERS, RUNNERS

from .compiling import transformer_blocks
from .hooks.load_backbone import LoadBackboneHook
from .runner import BriefRunner


class ShardingRunner(BriefRunner):
    """A runner of several processes, all of which take part in saving a checkpoint.

    Raises:
        ValueError: without a launcher.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if not self.distributed:
            raise ValueError(
                '--shard divides a training among processes, but launcher=none starts only one: '
                f'use {tool("dist_train.sh")} or {tool("slurm_train.sh")}, or leave --shard out.'
            )

    def save_checkpoint(self, *args, **kwargs) -> None:
        """Collect the state in the first process, which writes it."""
        self._collected = self.collect()
        super().save_checkpoint(*args, **kwargs)
        self._collected = {}

    def call_hook(self, fn_name: str, **kwargs) -> None:
        if fn_name == 'before_save_checkpoint':
            kwargs['checkpoint'].update(self._collected)
        super().call_hook(fn_name, **kwargs)

    def collect(self) -> dict:
        """The whole tensors of what is divided. All processes call this."""
        raise NotImplementedError

    def resume(self, filename: str, *args, **kwargs) -> None:
        """Resume from a checkpoint that is read into the memory of the CPU."""
        super().resume(filename, *args, **{'map_location': 'cpu', **kwargs})


@RUNNERS.register_module()
class OptimizerShardingRunner(ShardingRunner):
    """Divide the optimizer's state among processes by PyTorch's ``ZeroRedundancyOptimizer``.

    Weights and gradients are whole in every process, so every method and every optimizer works.
    The results are those of ``DistributedDataParallel``, bit for bit.
    """

    def build_optim_wrapper(self, optim_wrapper: dict | OptimWrapper) -> OptimWrapper:
        if isinstance(optim_wrapper, OptimWrapper):
            return optim_wrapper
        options = dict(optim_wrapper['optimizer'])
        optimizer = dict(type='mmmask.ShardedOptimizer', optimizer=options.pop('type'), **options)
        return super().build_optim_wrapper({**optim_wrapper, 'optimizer': optimizer})

    def collect(self) -> dict:
        self.optim_wrapper.optimizer.consolidate_state_dict()
        return {}


@OPTIMIZERS.register_module()
class ShardedOptimizer(ZeroRedundancyOptimizer):
    """``ZeroRedundancyOptimizer`` for an optimizer that is named as in a config."""

    def __init__(self, params: Iterable, optimizer: str, **kwargs) -> None:
        super().__init__(list(params), ALL_OPTIMIZERS.get(optimizer), **kwargs)


@RUNNERS.register_module()
class FullyShardingRunner(ShardingRunner):
    """Divide weights, gradients and the optimizer's state by PyTorch's ``fully_shard`` (FSDP2).

    The model is initialised, loaded and resumed as in one process, and divided afterwards. Blocks
    of transformers are collected one by one when they run, and everything else for a whole step,
    including momentum copies, whose layers a parser calls one by one.

    Raises:
        ValueError: for fp16 with a dynamic loss scale, and as :func:`shard_model` does.
    """

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        return model.to(get_device())

    def load_or_resume(self) -> None:
        super().load_or_resume()
        for hook in [hook for hook in self.hooks if isinstance(hook, LoadBackboneHook)]:
            hook.before_train(self)
            self.hooks.remove(hook)
        if getattr(self.optim_wrapper, 'loss_scaler', None) is not None:
            raise ValueError(
                'optim_wrapper.loss_scale of fp16 does not work with --shard full: use --amp bf16 '
                'or --shard optimizer.'
            )
        shard_model(self.model, self.optim_wrapper.optimizer)

    def collect(self) -> dict:
        state = self.optim_wrapper.state_dict()
        state['state'] = collect(state['state'])
        return dict(state_dict=collect(self.model.state_dict()), optimizer=state)


def trained_blocks(model: nn.Module) -> list[nn.Module]:
    """The transformer blocks of a model outside of its momentum copies."""
    copies = [module for module in model.modules() if isinstance(module, MomentumCopy)]
    copied = {id(module) for copy in copies for module in copy.modules()}
    return [block for block in transformer_blocks(model) if id(block) not in copied]


def shard_model(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Divide a model and the state of its optimizer among all processes, in place.

    Raises:
        ValueError: for a model without transformer blocks, and for optimizers that are not
            PyTorch's.
    """
    from torch.distributed.fsdp import fully_shard  # takes half a second

    names = {parameter: name for name, parameter in model.named_parameters()}
    blocks = trained_blocks(model)
    kind = type(optimizer)
    if not kind.__module__.startswith('torch.optim'):  # may need norms of whole parameters
        raise ValueError(
            f'optim_wrapper.optimizer.type={kind.__name__!r} does not work with --shard full: use '
            'an optimizer of PyTorch, or --shard optimizer.'
        )
    if not blocks:
        raise ValueError(
            f'--shard full divides a model at its transformer blocks, but {type(model).__name__} '
            'has none to train: use --shard optimizer.'
        )
    for block in blocks:
        fully_shard(block)
    fully_shard(model)
    model._get_fsdp_state()._lazy_init()  # or the first block to run would be taken for the root
    sharded = dict(model.named_parameters())
    state = dict(optimizer.state)
    optimizer.state.clear()
    for group in optimizer.param_groups:
        for index, whole in enumerate(group['params']):
            group['params'][index] = part = sharded[names[whole]]
            if whole in state:
                optimizer.state[part] = {
                    key: divide_like(part, value) for key, value in state[whole].items()
                }


def divide_like(part: Tensor, value: Any) -> Any:
    """The part of a tensor that belongs to a part of a parameter; other values as they are."""
    from torch.distributed.tensor import distribute_tensor

    if not isinstance(value, Tensor) or value.shape != part.shape:
        return value
    return distribute_tensor(value, part.device_mesh, part.placements, src_data_rank=None)


def collect(values: dict) -> dict:
    """Whole tensors on the CPU in place of divided ones. All processes call this."""
    return {
        key: collect(value)
        if isinstance(value, dict)
        else value.full_tensor().cpu()
        if hasattr(value, 'full_tensor')
        else value
        for key, value in values.items()
    }
