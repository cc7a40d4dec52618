#!/usr/bin/env python
"""Train a model from a config file."""

import argparse
import os
import sys

from mmengine.config import DictAction
from torch.distributed.elastic.multiprocessing.errors import record

from mmmask.apis.rehearsal import RehearsalError
from mmmask.apis.train import (
    AMP_CHOICES,
    die_with_the_launcher,
    load_config,
    rehearse,
    restarted,
    train,
)
from mmmask.apis.validate import ConfigError
from mmmask.checkpoints import CheckpointError
from mmmask.engine.hooks.preemption import leave_when_told


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Exit code 75: stopped by SIGTERM or SIGUSR1 after saving, go on with --resume. '
        'Example: tools/train.py configs/demo/localmim_vit-tiny_digits.py '
        '--cfg-options train_cfg.max_epochs=5 train_dataloader.batch_size=64',
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', help='folder of logs and checkpoints (default: work_dirs/<config name>)'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint, or without a value from the newest intact one of the '
        'work directory; a launcher that starts a run again implies it',
    )
    parser.add_argument(
        '--pretrained',
        metavar='CHECKPOINT',
        help='load the backbone from this checkpoint: of a pre-training, or of another library',
    )
    parser.add_argument(
        '--allow-missing',
        action='store_true',
        help='accept a --pretrained file that does not fill the whole backbone',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const='auto',
        default='auto',
        choices=AMP_CHOICES,
        help='mixed precision; auto (default) is bf16 where the GPU has it, and off elsewhere',
    )
    parser.add_argument('--seed', type=int, help="replaces the config's seed")
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='check the config, build everything, print batch, learning rate, sizes, and stop',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override values of the config, such as train_cfg.max_epochs=5; lists as "[a,b]"',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torchrun of older PyTorch passes the local rank as an argument.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(arguments.local_rank))
    return arguments


@record  # torchrun reports the traceback of the process that failed first
def main() -> None:
    arguments = parse_arguments()
    leave_when_told()
    if arguments.launcher != 'none':
        die_with_the_launcher()
    try:
        cfg = load_config(
            arguments.config,
            options=arguments.cfg_options,
            work_dir=arguments.work_dir,
            seed=arguments.seed,
            amp=arguments.amp,
            pretrained=arguments.pretrained,
            allow_missing=arguments.allow_missing,
            resume=arguments.resume or ('auto' if restarted() else None),
            launcher=arguments.launcher,
        )
    except (ConfigError, FileNotFoundError) as error:
        sys.exit(f'{arguments.config}: {error}')
    run = rehearse if arguments.dry_run else train
    try:
        run(cfg)
    except RehearsalError as error:
        print(f'{arguments.config}: {error}', file=sys.stderr)
        sys.exit(2)
    except CheckpointError as error:
        sys.exit(f'{arguments.config}: {error}')


if __name__ == '__main__':
    main()
