"""Mixed precision on processors, and the cores that a process may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from mmmask.registry import OPTIM_WRAPPERS


def available_cores() -> int:
    """Cores that the scheduler grants to each training process of this machine, at least 1."""
    has_affinity = hasattr(os, 'sched_getaffinity')
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get('LOCAL_WORLD_SIZE') or 1))


def multiplies_bf16() -> bool:
    """Whether this processor has instructions (AMX, AVX512-BF16) that multiply bf16 numbers."""
    queries = ('_is_amx_tile_supported', '_is_avx512_bf16_supported')
    return any(getattr(torch.cpu, query, bool)() for query in queries)


class _Fp32Attention(TorchFunctionMode):
    """Computes fused attention in fp32: its bf16 backward pass takes 4 times as long on CPUs."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        args, kwargs = tree_map_only(torch.Tensor, _fp32, (args, kwargs))
        with torch.autocast('cpu', enabled=False):
            return func(*args, **kwargs)


def _fp32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor  # a mask may be boolean


@contextmanager
def processor_autocast() -> Iterator[None]:
    """Multiply matrices in bf16 on a CPU, and compute attention in fp32."""
    with torch.autocast('cpu', torch.bfloat16), _Fp32Attention():
        yield


@OPTIM_WRAPPERS.register_module()
class ProcessorAmpOptimWrapper(OptimWrapper):
    """Mixed precision in bf16 on CPUs, which mmengine's ``AmpOptimWrapper`` does not support."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Compute the losses in bf16 within this context."""
        with super().optim_context(model), processor_autocast():
            yield
