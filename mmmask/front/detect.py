"""Train a detector on a COCO JSON, from a pre-trained backbone.

The config of the run is written to OUT/config.py. tools/train.py and tools/dist_train.sh repeat the
run from it.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from . import downstream

EXAMPLES = """
example:
  mmmask detect --data street/images street/objects.json --pretrained runs/a --out runs/street
"""


def detect(
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
    """Train a Mask R-CNN, or without masks a Faster R-CNN, on a COCO JSON.

    Network, heads and image size follow from the checkpoint, and classes from the data.

    Args:
        data: folder of images, and COCO JSON.
        epochs: length, 24 by default; the schedule follows.
        out, pretrained, val_data, batch_size, lr: as in :func:`mmmask.finetune`.
        workers, devices, seed, resume, dry_run, cfg_options: as in :func:`mmmask.finetune`.

    Returns:
        The last checkpoint; None after a dry run.

    Raises:
        ValueError: if the data do not have this form.
    """
    downstream.several(data, 'detect', 'a folder of images and a COCO JSON')
    return downstream.train('detect', 'detection', **locals())  # the parameters, by name
