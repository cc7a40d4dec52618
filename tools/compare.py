#!/usr/bin/env python
"""Pre-train several configs with the same seeds and compare their backbones.

Each run goes through tools/train.py. Then a k-NN classifier and a linear probe on frozen features,
the mean of the patch tokens, score the backbone before and after pre-training, on the labelled data
sets of the config's OnlineKNNHook. Finished runs are not repeated; interrupted ones are resumed.
"""

import argparse

from mmmask.command_line import USER_ERRORS, Parser, user_errors, user_path


def parse_arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        epilog='Example: random, part and hierarchical masks under one recipe\n'
        '  tools/compare.py configs/demo/mae_vit-tiny_digits.py \\\n'
        '      configs/demo/epm_vit-tiny_digits.py configs/demo/ehm_vit-tiny_digits.py \\\n'
        '      --seeds 0 1 --cfg-options train_cfg.max_epochs=10',
    )
    parser.add_argument(
        'configs', nargs='+', type=user_path, metavar='CONFIG', help='pre-training configs'
    )
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[0], help='seeds of every config (default: 0)'
    )
    parser.add_argument(
        '--work-dir',
        type=user_path,
        default='work_dirs/compare',
        help='folder of the runs (%(default)s); use another one for other --cfg-options',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        default=[],
        help='override values of every config, such as train_cfg.max_epochs=5',
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with user_errors(arguments.debug, kinds=(*USER_ERRORS, RuntimeError)):
        from mmmask.lab.compare import compare_runs, comparison_table, console

        results = compare_runs(
            arguments.configs, arguments.seeds, arguments.work_dir, arguments.cfg_options
        )
        console.print(comparison_table(results, arguments.seeds))


if __name__ == '__main__':
    main()
