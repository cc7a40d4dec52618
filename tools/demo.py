#!/usr/bin/env python
"""Pre-train a small LocalMIM on real images in a few minutes, and show what it has learnt.

Trains with tools/train.py, like a full run. At the end it prints a table of accuracies on held-out
images and draws two pictures: images, masks, targets and predictions, and nearest neighbours.
"""

import argparse

from mmmask.command_line import USER_ERRORS, Parser, user_errors, user_path


def parse_arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        epilog='Examples:\n'
        '  tools/demo.py                        3,409 photographs of clothes\n'
        '  tools/demo.py --data ~/Pictures      your own images, no labels needed',
    )
    parser.add_argument(
        '--data',
        type=user_path,
        metavar='FOLDER',
        help='folder or .zip file of images; sub-folders are searched, and two or more of them are '
        'classes for the accuracies (default: photographs of clothes)',
    )
    parser.add_argument(
        '--work-dir',
        type=user_path,
        default='work_dirs/demo',
        help='folder of all outputs (%(default)s)',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the run (%(default)s)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='override values of the config, such as train_cfg.max_epochs=5',
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with user_errors(arguments.debug, kinds=(*USER_ERRORS, RuntimeError)):
        from mmmask.lab.demo import run_demo

        run_demo(arguments.data, arguments.work_dir, arguments.seed, arguments.cfg_options)


if __name__ == '__main__':
    main()
