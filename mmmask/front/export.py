"""Write a backbone for another library, compare the features there, and print how to use it."""

import os
from pathlib import Path

from mmmask.command_line import user_path

from . import running

LIBRARIES = ('mmpretrain', 'mmdet', 'mmseg', 'timm', 'huggingface')
EXAMPLES = """
example:
  mmmask export runs/a --to timm --out backbone.safetensors
"""


def add_options(parser) -> None:
    """Give a parser the options of :func:`export`."""
    parser.add_argument(
        'checkpoint', type=user_path, help='checkpoint of a pre-training, or folder of one'
    )
    parser.add_argument('--to', required=True, help=f'library: {", ".join(LIBRARIES)}')
    parser.add_argument(
        '--out',
        type=user_path,
        required=True,
        help='file to write: .pth, or .safetensors for timm and huggingface',
    )


def export(checkpoint: str | os.PathLike, to: str, out: str | os.PathLike) -> Path:
    """Write the backbone of a checkpoint for another library; ``tools/export.py`` has more options.

    Args:
        checkpoint: checkpoint of a pre-training, or the folder of one.
        to: ``'mmpretrain'``, ``'mmdet'``, ``'mmseg'``, ``'timm'`` or ``'huggingface'``.
        out: file to write.

    Returns:
        The path of what was written.

    Raises:
        ValueError: see :func:`mmmask.apis.export_backbone`.
    """
    from mmmask.apis import export_backbone

    written = export_backbone(running.checkpoint_of(checkpoint), os.fspath(out), to)
    print(f'features differ by at most {written.max_difference:.2g} of the largest')
    print(f'wrote {out}\n\n{written.snippet}\n{written.note}')
    return Path(out)
