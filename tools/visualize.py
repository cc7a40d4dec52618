#!/usr/bin/env python
"""Draw images, masks, targets and predictions of a pre-trained model into one picture."""

import argparse
import sys

from mmmask.apis.visualize import visualize
from mmmask.engine.checkpointing import CheckpointError


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Example: tools/visualize.py configs/demo/localmim_vit-tiny_digits.py '
        'work_dirs/demo/epoch_20.pth --images holiday.jpg cat.png --out picture.png',
    )
    parser.add_argument('config', help='config file of the pre-training')
    parser.add_argument('checkpoint', help='checkpoint of that pre-training')
    parser.add_argument(
        '--images',
        nargs='+',
        metavar='PATH',
        help="a folder, a .zip file, or image files (default: the config's training images)",
    )
    parser.add_argument(
        '--out', default='reconstruction.png', help='picture to write (%(default)s)'
    )
    parser.add_argument('--num', type=int, default=8, help='images to draw (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the masks (%(default)s)')
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    try:
        path = visualize(
            arguments.config,
            arguments.checkpoint,
            arguments.images,
            arguments.out,
            arguments.num,
            arguments.seed,
        )
    except (CheckpointError, OSError, ValueError) as error:
        sys.exit(str(error))
    print(f'The picture is in {path}')


if __name__ == '__main__':
    main()
