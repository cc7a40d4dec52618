#!/usr/bin/env python
"""Repeat a training step whose loss was not finite, and say which module broke first."""

import argparse
import sys

from mmmask.checkpoints import CheckpointError
from mmmask.lab.replay import PRECISIONS, replay


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=f'{__doc__} A training writes such steps to nonfinite/ in its work directory: '
        'batch, weights and random states, so on a CPU the losses come out as they did then.',
        epilog='Example: tools/replay.py work_dirs/mae_vit-tiny_digits/mae_vit-tiny_digits.py '
        'work_dirs/mae_vit-tiny_digits/nonfinite/iter_310.pth',
    )
    parser.add_argument(
        'config',
        help='config of the pre-training: the copy in its work directory has its --cfg-options',
    )
    parser.add_argument('file', help='file below nonfinite/ of the work directory')
    parser.add_argument(
        '--amp',
        choices=PRECISIONS,
        default='off',
        help='precision; try the one of the run, and off to see whether it is the reason',
    )
    parser.add_argument('--device', default='cpu', help='cpu (default) or cuda')
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    try:
        result = replay(arguments.config, arguments.file, arguments.amp, arguments.device)
    except (CheckpointError, FileNotFoundError) as error:
        sys.exit(str(error))
    print(f'iteration  {result.iteration}')
    for name, value in result.recorded.items():
        print(f'{name:<9}  {value:g} then, {result.losses.get(name, float("nan")):g} now')
    print(f'origin     {result.origin or "no module: what came in was not finite, or all is well"}')
    if result.broken_weights:
        print(f'weights    not finite in {", ".join(result.broken_weights[:5])}')
    for path in result.images:
        print(f'image      {path}')


if __name__ == '__main__':
    main()
