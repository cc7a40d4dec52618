"""Conversion of pre-training checkpoints between mmmask's layout and those of other projects."""

import difflib
from pathlib import Path

from mmengine.logging import print_log

from mmmask.outputs import refuse_to_replace

from .files import (
    CheckpointError,
    container_of,
    find_tensors,
    open_checkpoint,
    write_checkpoint,
)
from .layouts import LAYOUTS, WHOLE_MODELS
from .recognition import describe_names, recognize
from .renaming import Renaming, rename


def convert_checkpoint(
    src: str | Path, dst: str | Path, source: str | None = None, target: str = 'mmmask'
) -> Renaming:
    """Convert the checkpoint ``src`` of layout ``source`` to ``dst`` of layout ``target``.

    One of the two layouts is ``'mmmask'``. Tensors are copied bit for bit, so a conversion there
    and back gives the same file. The constants that the official layouts store are compared with
    those that mmmask computes, left out, and written again on the way back. Optimiser states are
    left out.

    Args:
        src: checkpoint file, ``.safetensors`` or a pickle, which is opened without executing it.
        dst: file to write, ``.pth`` or ``.safetensors``.
        source: ``'mmmask'`` or one of ``LAYOUTS``, which ``tools/convert.py --layouts`` describes.
            By default it is recognised by the names of the tensors.
        target: ``'mmmask'`` or one of these layouts, apart from those of an encoder only.

    Returns:
        Which name became which, and what was left out.

    Raises:
        ValueError: for an unknown layout, or if neither or both are ``'mmmask'``.
        CheckpointError: if the file has another layout; unknown and missing names are listed.
        FileExistsError: if ``dst`` exists and was not written by mmmask.
    """
    source = source or ('mmmask' if target != 'mmmask' else None)
    if source:
        _check('source', source, ['mmmask', *LAYOUTS])
    if target in LAYOUTS and target not in WHOLE_MODELS:
        raise ValueError(f"target='{target}' holds an encoder only: use mmmask export for it.")
    _check('target', target, ['mmmask', *WHOLE_MODELS])
    if (source == 'mmmask') == (target == 'mmmask'):
        raise ValueError(
            f"source='{source}' and target='{target}': exactly one of them must be 'mmmask'."
        )

    refuse_to_replace(dst)
    checkpoint = open_checkpoint(src)
    tensors = find_tensors(checkpoint, src)
    if target == 'mmmask':
        match = recognize(tensors, [source] if source else LAYOUTS)
        if not source:
            if not match.fits:
                raise CheckpointError(f'the file {describe_names(tensors)}')
            print_log(f'{src}: recognised as {match}', logger='current')
        renaming = match.rename(tensors)
        meta = dict(converted_from=match.layout, file=Path(src).name)
        converted = dict(state_dict=renaming.tensors, meta=meta)
    else:
        renaming = rename(tensors, target, 'ours')
        container = LAYOUTS[target].container
        converted = {container: renaming.tensors} if container else renaming.tensors
    write_checkpoint(converted, dst)

    container = container_of(checkpoint)
    others = [key for key in checkpoint if container not in (None, key)]
    return renaming._replace(left_out=[*renaming.left_out, *others])


def _check(argument: str, value: str, allowed: list[str]) -> None:
    if value in allowed:
        return
    near = difflib.get_close_matches(value, allowed, n=1)
    suggestion = f" Did you mean '{near[0]}'?" if near else ''
    raise ValueError(f"{argument}='{value}' is not one of {', '.join(allowed)}.{suggestion}")
