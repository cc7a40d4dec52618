"""So that watching a run does not change it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def preserve_random_state() -> Iterator[None]:
    """Give Python, NumPy and PyTorch (CPU and the current GPU) their random states back after."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002  the state that transforms draw from
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
