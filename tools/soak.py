#!/usr/bin/env python
"""Train under random kills, signals and damaged files, and check that nothing is lost.

A small pre-training runs once undisturbed. Then it runs repeatedly in processes that are killed or
asked to stop at random moments, half of them while they write a checkpoint. Between two processes
the newest checkpoint may be truncated, changed by a bit or removed, or lose its checksum. After
each fault the run is resumed. Every run must end with the same weights, optimizer state, random
states and log as the undisturbed one, bit for bit.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from mmmask.command_line import USER_ERRORS, Parser, user_errors, user_path


def parse_arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        epilog='Examples:\n'
        '  tools/soak.py --kills 20                 a minute or two on one core\n'
        '  tools/soak.py --kills 200 --seed 1       the figures in docs/long_runs.md\n'
        '  tools/soak.py --config CONFIG --work-dir FOLDER   keep the runs that differ',
    )
    parser.add_argument('--kills', type=int, default=20, help='least number of kills (default: 20)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the faults (default: 0)')
    parser.add_argument(
        '--config',
        type=user_path,
        default=str(Path(__file__).parents[1] / 'configs/demo/ehm_vit-tiny_digits.py'),
        help='a config of configs/demo, which is trained in a smaller version (default: evolved '
        'masks, which have a schedule and a momentum copy)',
    )
    parser.add_argument('--images', type=int, default=64, help='images per epoch (default: 64)')
    parser.add_argument('--epochs', type=int, default=3, help='epochs per run (default: 3)')
    parser.add_argument(
        '--work-dir',
        type=user_path,
        help='a new folder for the runs (default: a temporary one, removed at the end)',
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with (
        tempfile.TemporaryDirectory() as temporary,
        user_errors(arguments.debug, kinds=(*USER_ERRORS, RuntimeError)),
    ):
        from mmmask.lab.soak import soak

        result = soak(
            arguments.config,
            Path(arguments.work_dir or temporary, 'soak'),
            arguments.kills,
            arguments.seed,
            arguments.images,
            arguments.epochs,
            partial(print, flush=True),
        )
    print(f'\n{result.kills} kills and {result.stops} stops by signal in {result.starts} starts')
    print(f'{result.runs} runs trained to the end, in {result.seconds:.0f} s')
    for kind, count in result.faults.most_common():
        print(f'  {count:5} x {kind}')
    if result.differences:
        sys.exit(
            'These runs differ from the undisturbed one:\n' + '\n'.join(result.differences[:20])
        )
    print('Every run is equal to the undisturbed one, bit for bit: nothing was lost.')


if __name__ == '__main__':
    main()
