"""Reading checkpoints as data, never as programs, and writing them whole or not at all."""

import argparse
import hashlib
import json
import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mmmask.outputs import MARK, mark_archive

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
    """A file that is not a checkpoint, or not one that can be used here."""


def _history_statistic(owner: type, name: str):
    """Replaces ``getattr``, which mmengine's pickled log buffers call for their statistics."""
    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(f'Unsupported global: GLOBAL builtins.getattr({name!r})')


def _under_the_name(name: str, function: Callable) -> Callable:
    """A function with the name that it has in files; PyTorch before 2.6 accepts no such pairs."""

    def named(*args):
        return function(*args)

    named.__module__, _, named.__name__ = name.rpartition('.')
    named.__qualname__ = named.__name__
    return named


class _ConfigNode:
    """Replaces ``CfgNode`` of yacs, in which Swin's and SimMIM's code stores its config.

    The restricted unpickler fills an ``OrderedDict``, but no subclass of ``dict``.
    """

    __module__, __qualname__ = 'yacs.config', 'CfgNode'

    def __new__(cls) -> OrderedDict:
        return OrderedDict()


# The module is called `core` in numpy 1 and `_core` in numpy 2. Files of both must open.
_ALLOWED = [
    argparse.Namespace,
    HistoryBuffer,
    _ConfigNode,
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
    (the official releases keep theirs), configs of yacs, which become dicts, and mmengine's log
    buffers. A ``.safetensors`` file becomes ``{'state_dict': ..., 'meta': ...}``. From a folder of
    Hugging Face or timm, the weights are read, and the ``num_heads`` in its ``config.json`` is
    added to ``'meta'``.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is truncated, is not a checkpoint, or contains anything but
            the values above. Nothing in it is executed.
    """
    path, folder = Path(path), Path(path)
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
    if path != folder and (heads := _folder_heads(folder)):
        checkpoint = dict(checkpoint, meta=dict(checkpoint.get('meta') or {}, num_heads=heads))
    return checkpoint


def _folder_heads(folder: Path) -> int | None:
    """The attention heads that ``config.json`` states for a vision transformer, or None."""
    path = folder / 'config.json'
    try:
        config = json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise CheckpointError(f'{path} is not JSON ({error}): download it again.') from error
    heads = config.get('num_attention_heads', config.get('model_args', {}).get('num_heads'))
    return heads if isinstance(heads, int) else None


def _open_safetensors(path: Path) -> dict:
    try:
        with safe_open(path, framework='pt') as file:
            meta = json.loads((file.metadata() or {}).get('mmmask', '{}'))
            names = list(file.keys())
            return dict(state_dict={name: file.get_tensor(name) for name in names}, meta=meta)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(
            f'{path} is truncated or not a safetensors file ({error}): download or save it again.'
        ) from error


def _open_pickle(path: Path) -> dict:
    with path.open('rb') as file:
        try:
            with torch.serialization.safe_globals(_ALLOWED):
                return torch.load(file, map_location='cpu', weights_only=True)
        # Truncated files and files of other formats raise any kind of exception.
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
    """The entry of a checkpoint that contains its tensors; None if they are at the top level."""
    return next((name for name in CONTAINERS if isinstance(checkpoint.get(name), dict)), None)


def find_tensors(checkpoint: dict, path: str | Path = 'the checkpoint') -> dict[str, Tensor]:
    """The tensors by name, at the top level or under the first of ``CONTAINERS``, also nested.

    ``DistributedDataParallel``, ``AveragedModel`` and ``torch.compile`` put ``module.`` and
    ``_orig_mod.`` into the names, which are removed.

    Raises:
        CheckpointError: if there are none, or if there are other values among them.
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
    """Write a dict of tensors by name, or a dict that contains one under ``'state_dict'``.

    The suffix decides: ``.safetensors`` keeps the tensors and, as JSON, ``'meta'``; ``.pth`` keeps
    everything. The file gets its name when it is complete.

    Raises:
        CheckpointError: for another suffix.
    """
    path = Path(path)
    if path.suffix not in (SAFETENSORS, *PICKLES):
        raise CheckpointError(f'{path}: the name of a checkpoint ends in .pth or {SAFETENSORS}.')
    if path.suffix == SAFETENSORS:
        meta = json.dumps(checkpoint.get('meta', {}), default=str)
        metadata = dict(format='pt', mmmask=meta, software=MARK)
        content = save(_owned(find_tensors(checkpoint, path)), metadata)
        write_file(path, lambda file: file.write(content))
    else:
        write_file(path, lambda file: _save_marked(_owned(checkpoint), file))


def _save_marked(content: dict, file: BinaryIO) -> None:
    torch.save(content, file)
    mark_archive(file)


def write_file(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all: under another name, flushed to the disk, then renamed.

    Raises:
        OSError: if the disk is full or the folder is not writable. Existing files are kept.
    """
    path = Path(path)
    unfinished = path.with_name(f'.{path.name}.{os.getpid()}{UNFINISHED}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open('w+b') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise type(error)(
            error.errno,
            f'{error.strerror}: nothing was written and existing files are unchanged. Free '
            'space or make the folder writable, then continue with --resume',
            str(path),
        ) from error
    finally:
        if unfinished.exists():
            unfinished.unlink()


def _flush_folder(folder: Path) -> None:
    """Let a renaming survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum_of(path: str | Path) -> Path:
    """The file beside a checkpoint with its checksum, as ``sha256sum -c`` reads it."""
    return Path(f'{path}.sha256')


def write_with_checksum(path: str | Path, content: bytes) -> None:
    """Write a file and then its checksum, so that the checksum never belongs to other content."""
    path, checksum = Path(path), checksum_of(path)
    line = f'{hashlib.sha256(content).hexdigest()}  {path.name}\n'.encode()
    checksum.unlink(missing_ok=True)  # without one, the file is checked by opening it
    write_file(path, lambda file: file.write(content))
    write_file(checksum, lambda file: file.write(line))


def why_not_intact(path: str | Path) -> str | None:
    """Why a checkpoint is damaged, by its checksum or else by reading it; None if it is not."""
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
        if is_zipfile(path):  # PyTorch writes the checksum of each record, but does not compare it
            with ZipFile(path) as archive:
                damaged = archive.testzip()
            return damaged and f'the checksum of its record {damaged} differs'
    except (CheckpointError, BadZipFile) as error:
        return str(error)
    return None


def _owned(value):
    """Copies of the tensors, because torch.save writes the whole storage behind a view."""
    if isinstance(value, dict):
        return {key: _owned(item) for key, item in value.items()}
    return value.detach().contiguous().clone() if isinstance(value, Tensor) else value
