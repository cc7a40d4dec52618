#!/usr/bin/env python
"""Repeat a training step with a non-finite loss, and name the module in which it began."""

import argparse

from mmmask.command_line import PRECISIONS, Parser, user_errors, user_path


def parse_arguments() -> argparse.Namespace:
    parser = Parser(
        formatter_class=argparse.HelpFormatter,
        description=f'{__doc__} A training saves such steps in nonfinite/ of its work directory, '
        'with batch, weights and random states, so that a CPU reproduces the losses.',
        epilog='Example: tools/replay.py work_dirs/mae_vit-tiny_digits/mae_vit-tiny_digits.py '
        'work_dirs/mae_vit-tiny_digits/nonfinite/iter_310.pth',
    )
    parser.add_argument(
        'config',
        type=user_path,
        help='config of the pre-training; the copy in its work directory includes --cfg-options',
    )
    parser.add_argument('file', type=user_path, help='file in nonfinite/ of the work directory')
    parser.add_argument(
        '--amp',
        choices=PRECISIONS,
        default='off',
        help='off (default, fp32), or the precision of the run',
    )
    parser.add_argument('--device', default='cpu', help='cpu (default) or cuda')
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with user_errors(arguments.debug):
        from mmmask.lab.replay import replay

        result = replay(arguments.config, arguments.file, arguments.amp, arguments.device)
    print(f'iteration  {result.iteration}')
    for name, value in result.recorded.items():
        again = result.losses.get(name, float('nan'))
        print(f'{name:<9}  {value:g} in the run, {again:g} in the replay')
    nowhere = 'no module: the inputs were not finite, or the loss is finite now'
    print(f'origin     {result.origin or nowhere}')
    if result.broken_weights:
        print(f'weights    not finite in {", ".join(result.broken_weights[:5])}')
    for path in result.images:
        print(f'image      {path}')


if __name__ == '__main__':
    main()
