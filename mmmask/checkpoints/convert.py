"""Conversion of pre-training checkpoints between mmmask's layout and the official ones."""

import difflib
from pathlib import Path

from .files import find_tensors, open_checkpoint, write_checkpoint
from .layouts import LAYOUTS
from .renaming import Renaming, rename


def convert_checkpoint(
    src: str | Path, dst: str | Path, source: str = 'localmim-vit', target: str = 'mmmask'
) -> Renaming:
    """Convert the checkpoint ``src`` of layout ``source`` to ``dst`` of layout ``target``.

    One of the two layouts is ``'mmmask'``. Every tensor arrives bit for bit, so there and back
    gives the same file; the constants that the official layouts store are compared with what
    mmmask computes, left out, and written again on the way back. Optimiser states are left out.

    Args:
        src: checkpoint file, ``.safetensors`` or a pickle, which is opened without executing it.
        dst: file to write, ``.pth`` or ``.safetensors``.
        source: ``'mmmask'`` or one of ``LAYOUTS``, which ``tools/convert.py --help`` describes.
        target: ``'mmmask'`` or one of these layouts, apart from those of an encoder only.

    Returns:
        Which name became which, and what was left out.

    Raises:
        ValueError: for an unknown layout, or if neither or both are ``'mmmask'``.
        CheckpointError: if the file is none of this layout; unknown and missing names are listed.
    """
    targets = [name for name, layout in LAYOUTS.items() if 'neck' in layout.sections]
    _check('source', source, ['mmmask', *LAYOUTS])
    if target in LAYOUTS and target not in targets:
        raise ValueError(f"target='{target}' holds an encoder only: use tools/export.py for it.")
    _check('target', target, ['mmmask', *targets])
    if (source == 'mmmask') == (target == 'mmmask'):
        raise ValueError(
            f"source='{source}' and target='{target}': exactly one of them must be 'mmmask'."
        )

    checkpoint = open_checkpoint(src)
    tensors = find_tensors(checkpoint, src)
    inwards = target == 'mmmask'
    layout, side = (source, 'theirs') if inwards else (target, 'ours')
    renaming = rename(tensors, layout, side)
    if inwards:
        meta = dict(converted_from=source, file=Path(src).name)
        converted = dict(state_dict=renaming.tensors, meta=meta)
    else:
        converted = {LAYOUTS[target].container: renaming.tensors}
    write_checkpoint(converted, dst)

    entries = [key for key in checkpoint if checkpoint.keys() != tensors.keys()]
    others = [key for key in entries if key not in ('state_dict', 'model')]
    return renaming._replace(left_out=[*renaming.left_out, *others])


def _check(argument: str, value: str, allowed: list[str]) -> None:
    if value in allowed:
        return
    near = difflib.get_close_matches(value, allowed, n=1)
    suggestion = f" Did you mean '{near[0]}'?" if near else ''
    raise ValueError(f"{argument}='{value}' is not one of {', '.join(allowed)}.{suggestion}")
