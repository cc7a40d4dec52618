"""Reading checkpoints as data, never as programs, and writing them whole or not at all."""

import argparse
import hashlib
import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

SAFETENSORS = '.safetensors'
UNFINISHED = '.part'
PICKLES = ('.pth', '.pt', '.bin', '.tar', '.ckpt')
# Where projects keep their tensors. A teacher comes before its student, because it is what the
# papers evaluate, and weights before averages of them.
CONTAINERS = (
    *('state_dict', 'model', 'model_state_dict', 'module', 'net', 'weights'),
    *('teacher', 'target_encoder', 'student', 'encoder'),
    *('state_dict_ema', 'model_ema', 'ema_state_dict'),
)
# What ``save_pretrained`` of Hugging Face calls the weights in a folder.
FOLDER_FILES = ('model.safetensors', 'pytorch_model.bin')


class CheckpointError(ValueError):
    """A file that is no checkpoint, or not the one that was asked for."""


def _history_statistic(owner: type, name: str):
    """Stands in for ``getattr``, by which mmengine's log buffers name their four statistics."""
    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(f'Unsupported global: GLOBAL builtins.getattr({name!r})')


def _under_the_name(name: str, function: Callable) -> Callable:
    """The function as files name it; PyTorch before 2.6 takes no pairs of these."""

    def named(*args):
        return function(*args)

    named.__module__, _, named.__name__ = name.rpartition('.')
    named.__qualname__ = named.__name__
    return named


# numpy 1 calls the module `core`, numpy 2 `_core`; files written under either must open.
_ALLOWED = [
    argparse.Namespace,
    HistoryBuffer,
    _under_the_name('builtins.getattr', _history_statistic),
    np.ndarray,
    np.dtype,
    *(
        _under_the_name(f'numpy.{core}.multiarray.{name}', value.__reduce__()[0])
        for value, name in ((np.float64(0), 'scalar'), (np.empty(0), '_reconstruct'))
        for core in ('core', '_core')
    ),
    *{type(np.dtype(code)) for code in np.typecodes['AllInteger'] + 'efd?'},
]


def open_checkpoint(path: str | Path) -> dict:
    """Read a ``.safetensors`` file or a pickle of ``torch.save``, without running code from it.

    Pickles may hold tensors, plain Python values, numpy scalars and arrays, ``argparse`` results
    (the official releases keep theirs) and mmengine's log buffers. A ``.safetensors`` file
    becomes ``{'state_dict': ..., 'meta': ...}``. A folder of Hugging Face's ``save_pretrained``
    stands for the weights in it.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is truncated, is not a checkpoint, or asks for anything else
            than the values above; in that case nothing of it was executed.
    """
    path = Path(path)
    if path.is_dir():
        path = next((path / name for name in FOLDER_FILES if (path / name).is_file()), path)
    if path.is_dir():
        raise FileNotFoundError(f'there is neither {" nor ".join(FOLDER_FILES)} in {path}.')
    if not path.is_file():
        raise FileNotFoundError(f'there is no checkpoint file {path}.')
    checkpoint = _open_safetensors(path) if path.suffix == SAFETENSORS else _open_pickle(path)
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'{path} holds a {type(checkpoint).__name__}, not a dict with tensors by name.'
        )
    return checkpoint


def _open_safetensors(path: Path) -> dict:
    try:
        with safe_open(path, framework='pt') as file:
            meta = json.loads((file.metadata() or {}).get('mmmask', '{}'))
            names = list(file.keys())
            return dict(state_dict={name: file.get_tensor(name) for name in names}, meta=meta)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(
            f'{path} is truncated or no safetensors file ({error}): download or save it again.'
        ) from error


def _open_pickle(path: Path) -> dict:
    with path.open('rb') as file:
        try:
            with torch.serialization.safe_globals(_ALLOWED):
                return torch.load(file, map_location='cpu', weights_only=True)
        # Torn files and files of another kind raise anything, depending on the byte that is wrong.
        except Exception as error:
            refused = re.search(r'GLOBAL (\S+)', str(error))
            if refused and isinstance(error, pickle.UnpicklingError):
                raise CheckpointError(
                    f'{path} was refused and nothing in it was executed: besides weights it asks '
                    f'for {refused[1]}, which is not on the list of plain data types. If you trust '
                    'its origin, write a file with torch.save(model.state_dict(), ...) there.'
                ) from error
            reason = str(error).strip().split('\n')[0] or type(error).__name__
            raise CheckpointError(
                f'{path} ({path.stat().st_size} bytes) is truncated or was not written by '
                f'torch.save ({reason}): download or save it again.'
            ) from error


def container_of(checkpoint: dict) -> str | None:
    """The entry of a checkpoint that holds its tensors; None where they are at the top level."""
    return next((name for name in CONTAINERS if isinstance(checkpoint.get(name), dict)), None)


def find_tensors(checkpoint: dict, path: str | Path = 'the checkpoint') -> dict[str, Tensor]:
    """The tensors by name, at the top level or under the first of ``CONTAINERS``, also nested.

    ``DistributedDataParallel``, ``AveragedModel`` and ``torch.compile`` put ``module.`` and
    ``_orig_mod.`` into the names, which are removed.

    Raises:
        CheckpointError: if there are none, or something else is among them.
    """
    while name := container_of(checkpoint):
        checkpoint = checkpoint[name]
    tensors = {
        key.replace('_orig_mod.', '') if isinstance(key, str) else key: value
        for key, value in checkpoint.items()
        if key != 'n_averaged'  # of AveragedModel
    }
    while tensors and all(str(key).startswith('module.') for key in tensors):
        tensors = {key.removeprefix('module.'): value for key, value in tensors.items()}
    strangers = {k: type(v).__name__ for k, v in tensors.items() if not isinstance(v, Tensor)}
    if strangers or not tensors:
        found = ', '.join(f'{key!r} ({kind})' for key, kind in list(strangers.items())[:10])
        raise CheckpointError(
            f'{path} holds no weights: expected tensors by name, at the top level or under one of '
            f'{", ".join(CONTAINERS)}, but found {found or "an empty dict"}.'
        )
    return tensors


def write_checkpoint(checkpoint: dict, path: str | Path) -> None:
    """Write a dict of tensors by name, or one with ``'state_dict'`` or ``'model'`` among others.

    The suffix decides: ``.safetensors`` keeps the tensors and, as JSON, ``'meta'``; ``.pth`` keeps
    everything. The file appears under its name when it is complete.

    Raises:
        CheckpointError: for another suffix.
    """
    path = Path(path)
    if path.suffix not in (SAFETENSORS, *PICKLES):
        raise CheckpointError(f'{path}: the name of a checkpoint ends in .pth or {SAFETENSORS}.')
    if path.suffix == SAFETENSORS:
        metadata = dict(format='pt', mmmask=json.dumps(checkpoint.get('meta', {}), default=str))
        content = save(_owned(find_tensors(checkpoint, path)), metadata)
        write_file(path, lambda file: file.write(content))
    else:
        write_file(path, lambda file: torch.save(_owned(checkpoint), file))


def write_file(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all: under another name, flushed to the disk, then renamed.

    Raises:
        OSError: if the disk is full or the folder cannot be written; what was there before stays.
    """
    path = Path(path)
    unfinished = path.with_name(f'.{path.name}.{os.getpid()}{UNFINISHED}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open('wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise type(error)(
            error.errno,
            f'{error.strerror}: nothing was written and files that were there are as before. Free '
            'space or make the folder writable, then go on with --resume',
            str(path),
        ) from error
    finally:
        if unfinished.exists():
            unfinished.unlink()


def _flush_folder(folder: Path) -> None:
    """Make a renaming last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum_of(path: str | Path) -> Path:
    """Where the checksum of a file lies: beside it, in the form that ``sha256sum -c`` reads."""
    return Path(f'{path}.sha256')


def write_with_checksum(path: str | Path, content: bytes) -> None:
    """Write a file and then its checksum, so that a checksum is never that of another content."""
    path, checksum = Path(path), checksum_of(path)
    line = f'{hashlib.sha256(content).hexdigest()}  {path.name}\n'.encode()
    checksum.unlink(missing_ok=True)  # a file without one is opened to see whether it is whole
    write_file(path, lambda file: file.write(content))
    write_file(checksum, lambda file: file.write(line))


def why_not_intact(path: str | Path) -> str | None:
    """What is wrong with a checkpoint: by its checksum, or without one by opening it; or None."""
    path, checksum = Path(path), checksum_of(path)
    if not path.is_file():
        return 'it is missing'
    if checksum.is_file():
        digest = hashlib.sha256()
        with path.open('rb') as file:
            while block := file.read(1 << 20):
                digest.update(block)
        expected = checksum.read_text().split()[:1]
        return None if expected == [digest.hexdigest()] else 'its checksum differs'
    try:
        open_checkpoint(path)
    except CheckpointError as error:
        return str(error)
    return None


def _owned(value):
    """Copies of the tensors, as a view would drag the whole tensor it looks into to the file."""
    if isinstance(value, dict):
        return {key: _owned(item) for key, item in value.items()}
    return value.detach().contiguous().clone() if isinstance(value, Tensor) else value
