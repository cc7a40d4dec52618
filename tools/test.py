#!/usr/bin/env python
"""Evaluate a checkpoint on the test set of a config."""

import argparse
import os
import sys

from mmengine.config import DictAction

from mmmask.apis.train import build_runner, load_config
from mmmask.apis.validate import ConfigError


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file with test_dataloader and test_evaluator')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder of the log')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(arguments.local_rank))
    return arguments


def main() -> None:
    arguments = parse_arguments()
    try:
        cfg = load_config(
            arguments.config,
            options=arguments.cfg_options,
            work_dir=arguments.work_dir,
            launcher=arguments.launcher,
        )
    except (ConfigError, FileNotFoundError) as error:
        sys.exit(f'{arguments.config}: {error}')
    if cfg.get('test_dataloader') is None:
        sys.exit(
            f'{arguments.config} has no test_dataloader. A pre-training config is judged by k-NN '
            'while it trains (mmmask.OnlineKNNHook); to test a model, use a config of '
            'configs/downstream/.'
        )
    cfg.load_from = arguments.checkpoint
    runner, _ = build_runner(cfg)
    runner.test()


if __name__ == '__main__':
    main()
