"""Random states, for checkpoints and for code that must not change a run."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def get_random_state() -> dict:
    """The random states of Python, NumPy and PyTorch (CPU and current GPU) as plain data."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002  the state that transforms sample from
    state = dict(
        python=random.getstate(),
        numpy=(kind, keys.tolist(), *rest),
        torch=torch.get_rng_state(),
    )
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict) -> None:
    """Restore a result of :func:`get_random_state`, also one that was saved to a file."""
    random.setstate(state['python'])
    np.random.set_state(state['numpy'])  # noqa: NPY002
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextmanager
def preserve_random_state() -> Iterator[None]:
    """Restore the random states of Python, NumPy and PyTorch when the block ends."""
    state = get_random_state()
    try:
        yield
    finally:
        set_random_state(state)
