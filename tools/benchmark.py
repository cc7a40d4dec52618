#!/usr/bin/env python
"""Measure training steps of configs, or a component, side by side in one run.

In every round each config takes one full training step (loss, backward, optimizer) on a synthetic
batch, so that a slow phase of the machine affects all of them and the ratios remain valid.
"""

import argparse
import json
from pathlib import Path

from mmmask.command_line import (
    COMPONENTS,
    MMPRETRAIN_MAE,
    PRECISIONS,
    Parser,
    user_errors,
    user_path,
)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        epilog='Examples:\n'
        '  tools/benchmark.py --vs-mmpretrain-mae --threads 2 \\\n'
        '      configs/localmim/localmim_vit-base-p16_8xb256-amp-coslr-100e_in1k.py\n'
        '  tools/benchmark.py configs/demo/localmim_vit-tiny_digits.py --data --profile\n'
        '  tools/benchmark.py --component hog --threads 2',
    )
    parser.add_argument(
        'configs',
        nargs='*',
        type=user_path,
        metavar='CONFIG',
        help=f"config files; '{MMPRETRAIN_MAE}' is mmpretrain's own masked autoencoder",
    )
    parser.add_argument(
        '--vs-mmpretrain-mae',
        action='store_true',
        help=f"put '{MMPRETRAIN_MAE}' first, as the reference of all ratios",
    )
    parser.add_argument(
        '--component', choices=COMPONENTS, help='measure a component instead of configs'
    )
    parser.add_argument('--batch-size', type=int, default=16, help='images per step (default: 16)')
    parser.add_argument('--img-size', type=int, help="side of the images (default: the config's)")
    parser.add_argument('--iters', type=int, default=10, help='rounds to measure (default: 10)')
    parser.add_argument('--warmup', type=int, default=2, help='rounds before them (default: 2)')
    parser.add_argument('--threads', type=int, help='CPU threads (default: as PyTorch chooses)')
    parser.add_argument(
        '--amp', choices=PRECISIONS, default='off', help='mixed precision (default: off, fp32)'
    )
    parser.add_argument(
        '--device', default='auto', help='cpu, cuda, or auto (default) for a GPU if there is one'
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help='also measure each config with compiled transformer blocks',
    )
    parser.add_argument(
        '--data',
        action='store_true',
        help="also train on the config's own data and report the time spent waiting for it",
    )
    parser.add_argument(
        '--profile', action='store_true', help='also print the operators that take the longest'
    )
    parser.add_argument(
        '--json', type=user_path, metavar='FILE', help='also write all figures to this file'
    )
    arguments = parser.parse_args()
    if arguments.vs_mmpretrain_mae:
        arguments.configs.insert(0, MMPRETRAIN_MAE)
    if bool(arguments.configs) == bool(arguments.component):
        parser.error('give one or more configs, or --component.')
    return arguments


def main() -> None:
    arguments = parse_arguments()
    with user_errors(arguments.debug):
        run(arguments)


def run(arguments: argparse.Namespace) -> None:
    import torch
    from rich.console import Console

    from mmmask.lab.benchmark import benchmark_component, benchmark_configs, make_table
    from mmmask.outputs import MARK, OutputFolder, refuse_to_replace

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.json:
        refuse_to_replace(arguments.json)
    common = dict(
        batch_size=arguments.batch_size,
        img_size=arguments.img_size,
        iters=arguments.iters,
        warmup=arguments.warmup,
        device=arguments.device,
    )
    if arguments.component:
        report = benchmark_component(arguments.component, **common)
    else:
        report = benchmark_configs(
            arguments.configs,
            amp=arguments.amp,
            data=arguments.data,
            profiled=arguments.profile,
            compiled=arguments.compile,
            **common,
        )
    Console().print(make_table(report))
    for result in report.results:
        if result.profile:
            print(f'{result.name}: {result.profile}')
    if arguments.json:
        results = [result._asdict() for result in report.results]
        content = report._replace(results=results)._asdict() | dict(description=MARK)
        with OutputFolder(Path(arguments.json).parent).file(Path(arguments.json).name) as path:
            path.write_text(json.dumps(content, indent=2) + '\n')


if __name__ == '__main__':
    main()
