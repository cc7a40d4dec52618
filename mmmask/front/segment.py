"""Train a segmentor on label maps, from a pre-trained backbone.

The config of the run is written to OUT/config.py. tools/train.py and tools/dist_train.sh repeat the
run from it.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from . import downstream

EXAMPLES = """
example:
  mmmask segment --data street/images street/labels --pretrained runs/a --out runs/maps
"""


def segment(
    data: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    pretrained: str | os.PathLike | None = None,
    val_data: Sequence[str | os.PathLike] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    workers: int | None = None,
    devices: int | None = None,
    seed: int = 0,
    resume: bool = False,
    dry_run: bool = False,
    cfg_options: dict | None = None,
) -> Path | None:
    """Train an UPerNet on label maps.

    Network, heads and image size follow from the checkpoint, and classes from the data.

    Args:
        data: folder of images, folder of label maps, and optionally the table of their values
            that docs/own_data.md describes.
        epochs: length, 40 by default; the schedule follows.
        out, pretrained, val_data, batch_size, lr: as in :func:`mmmask.finetune`.
        workers, devices, seed, resume, dry_run, cfg_options: as in :func:`mmmask.finetune`.

    Returns:
        The last checkpoint; None after a dry run.

    Raises:
        ValueError: if the data do not have this form.
    """
    downstream.several(data, 'segment', 'a folder of images and one of label maps')
    return downstream.train('segment', 'segmentation', **locals())  # the parameters, by name
