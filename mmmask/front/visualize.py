"""Draw images, masks, targets and predictions of a pre-training into one picture.

tools/visualize.py draws further things: masks before a run, and how they evolve.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from mmmask.command_line import user_path

from . import running

EXAMPLES = """
examples:
  mmmask visualize runs/a --out picture.png
  mmmask visualize runs/a --images holiday.jpg cat.png --out picture.png
"""


def add_options(parser) -> None:
    """Give a parser the options of :func:`visualize`."""
    parser.add_argument('run', type=user_path, help='folder of a pre-training')
    parser.add_argument('--out', type=user_path, required=True, help='picture to write')
    parser.add_argument(
        '--images',
        nargs='+',
        type=user_path,
        metavar='PATH',
        help='folder, .zip file, or image files (default: the training images)',
    )
    parser.add_argument(
        '--num-images', type=int, default=8, help='rows of the picture (default: %(default)s)'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the masks (default: %(default)s)'
    )


def visualize(
    run: str | os.PathLike,
    out: str | os.PathLike,
    images: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    num_images: int = 8,
    seed: int = 0,
) -> Path:
    """Draw what a pre-trained model predicts.

    Args:
        run: folder of a pre-training.
        out: picture to write.
        images: one folder or ``.zip`` file, or image files; the training images by default.
        num_images: rows of the picture.
        seed: of the masks.

    Returns:
        The path of the picture.

    Raises:
        FileNotFoundError: if the folder has no config or no checkpoint.
        ValueError: for a method that predicts embeddings.
    """
    from mmengine.logging import MMLogger

    from mmmask.apis.validate import read_config
    from mmmask.apis.visualize import visualize as draw

    MMLogger.get_current_instance().setLevel('WARNING')
    cfg = read_config(Path(run).expanduser() / running.CONFIG)
    checkpoint = running.checkpoint_of(run)
    path = draw(cfg, checkpoint, running.places(images), out, num_images, seed)
    print(f'The picture is in {path}')
    return path
