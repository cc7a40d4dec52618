"""Train a classifier on class folders, from a pre-trained backbone.

The config of the run is written to OUT/config.py. tools/train.py and tools/dist_train.sh repeat the
run from it.
"""

import os
from pathlib import Path

from . import downstream

EXAMPLES = """
example:
  mmmask finetune --data flowers/ --pretrained runs/a --out runs/flowers
"""


def finetune(
    data: str | os.PathLike,
    out: str | os.PathLike,
    pretrained: str | os.PathLike | None = None,
    val_data: str | os.PathLike | None = None,
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
    """Train a classifier on the images of class folders.

    Network, heads and image size follow from the checkpoint, and classes from the data.

    Args:
        data: folder or ``.zip`` file with a folder for each class.
        out: folder of config, logs and checkpoints.
        pretrained: checkpoint of a backbone, or the folder of a training. Without one, a ResNet-50
            starts from random weights.
        val_data: data to validate with; by default a fifth of ``data`` is held out by name.
        epochs: length, 24 by default; the schedule follows.
        batch_size: images per step on each device, by default the recipe's.
        lr: peak learning rate, by default the recipe's; it does not depend on the batch size.
        workers, devices, seed, resume, dry_run, cfg_options: as in :func:`mmmask.pretrain`.

    Returns:
        The last checkpoint; None after a dry run.

    Raises:
        ValueError: if the data do not have this form.
    """
    return downstream.train('finetune', 'classification', **locals())  # the parameters, by name
