"""Write a backbone for another library, compare the features there, and print how to use it."""

import os
from pathlib import Path

from . import running

EXAMPLES = """
examples:
  mmmask export runs/a --to timm --out backbone.safetensors
  mmmask export runs/a --to onnx --out backbone.onnx
"""


def export(
    checkpoint: str | os.PathLike,
    to: str,
    out: str | os.PathLike,
    push: str | None = None,
    num_heads: int | None = None,
) -> Path:
    """Write the backbone of a checkpoint for another library.

    Args:
        checkpoint: checkpoint of a pre-training, or the folder of one.
        to: ``'mmpretrain'``, ``'mmdet'``, ``'mmseg'``, ``'timm'``, ``'huggingface'``, ``'torch'``
            for torch.export, or ``'onnx'``.
        out: file to write: ``.pth``; for timm and Hugging Face also ``.safetensors``, or a folder;
            ``.pt2`` for torch.export; ``.onnx`` for ONNX.
        push: repository of the Hugging Face hub, ``OWNER/NAME``, to which the folder is uploaded.
        num_heads: attention heads of a ViT, where no config and no standard size states them.

    Returns:
        The path of what was written.

    Raises:
        ValueError: see :func:`mmmask.apis.export_backbone`.
    """
    from mmmask.apis import export_backbone

    written = export_backbone(
        running.checkpoint_of(checkpoint), os.fspath(out), to, num_heads, repository=push
    )
    print(f'features differ by at most {written.max_difference:.2g} of the largest')
    print(f'wrote {out}\n\n{written.snippet}\n{written.note}')
    if written.address:
        print(f'uploaded to {written.address}')
    return Path(out)
