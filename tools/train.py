#!/usr/bin/env python
"""Train a model from a config file."""

import argparse
import os
from contextlib import nullcontext
from functools import partial
from tempfile import TemporaryDirectory

from mmmask.command_line import (
    AMP_CHOICES,
    COMPILE_CHOICES,
    SHARDS,
    Parser,
    add_config_options,
    add_data_options,
    add_launcher,
    user_errors,
    user_path,
)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.HelpFormatter,
        epilog='Exit code 75: stopped by SIGTERM or SIGUSR1 after saving; restart with --resume. '
        'Example: tools/train.py configs/demo/localmim_vit-tiny_digits.py '
        '--cfg-options train_cfg.max_epochs=5 train_dataloader.batch_size=64',
    )
    parser.add_argument('config', type=user_path, help='config file')
    parser.add_argument(
        '--work-dir',
        type=user_path,
        help='folder of logs and checkpoints (default: work_dirs/<config name>)',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        type=user_path,
        const='auto',
        metavar='CHECKPOINT',
        help='resume from this checkpoint, or without a value from the newest intact one in the '
        'work directory; implied when a launcher restarts a run',
    )
    parser.add_argument(
        '--pretrained',
        type=user_path,
        metavar='CHECKPOINT',
        help='load the backbone from this checkpoint: of a pre-training, or of another library',
    )
    parser.add_argument(
        '--allow-missing',
        action='store_true',
        help='accept a --pretrained file that does not fill the whole backbone',
    )
    add_data_options(parser)
    parser.add_argument(
        '--epochs',
        type=int,
        help='length of the run; schedule, validation and checkpoints keep their fractions of it',
    )
    parser.add_argument('--iters', type=int, help='the same for configs that count iterations')
    parser.add_argument(
        '--amp',
        nargs='?',
        const='auto',
        default='auto',
        choices=AMP_CHOICES,
        help='mixed precision; auto (default) is bf16 where the GPU, or without one the CPU, '
        'supports it, and off elsewhere',
    )
    parser.add_argument(
        '--compile',
        nargs='?',
        const='on',
        default='auto',
        choices=COMPILE_CHOICES,
        help='compile the transformer blocks; auto (default) does so on GPUs, except for detectors '
        'and segmentors',
    )
    parser.add_argument(
        '--shard',
        choices=SHARDS,
        default='none',
        help='what is divided among processes: the state of the optimizer, or in full also weights '
        'and gradients, for models that one GPU cannot hold (default: none)',
    )
    parser.add_argument('--seed', type=int, help="replaces the config's seed")
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='check the config, build everything, print batch, learning rate, sizes, and stop',
    )
    add_config_options(parser, ', such as train_cfg.max_epochs=5; lists as "[a,b]"')
    add_launcher(parser)
    arguments = parser.parse_args()
    if arguments.allow_missing and not arguments.pretrained:
        parser.error('--allow-missing is about the file of --pretrained: give one.')
    os.environ.setdefault('LOCAL_RANK', str(arguments.local_rank))
    return arguments


def run(arguments: argparse.Namespace) -> None:
    from mmmask.apis import ConfigError
    from mmmask.apis.rehearsal import RehearsalError
    from mmmask.apis.train import launched, load_config, rehearse, restarted, train
    from mmmask.checkpoints import CheckpointError
    from mmmask.engine.hooks.preemption import leave_when_told

    leave_when_told()
    net = partial(user_errors, arguments.debug, arguments.config)
    # A dry run leaves nothing behind, not even the annotation files of --data.
    scratch = TemporaryDirectory() if arguments.dry_run else nullcontext(arguments.work_dir)
    with (
        launched(arguments.launcher),
        scratch as work_dir,
        net(code=1, kinds=(CheckpointError,)),
        net(kinds=(RehearsalError,)),
    ):
        with net(code=1, kinds=(ConfigError, FileNotFoundError)):
            cfg = load_config(
                arguments.config,
                options=arguments.cfg_options,
                work_dir=work_dir,
                seed=arguments.seed,
                amp=arguments.amp,
                compiling=arguments.compile,
                pretrained=arguments.pretrained,
                allow_missing=arguments.allow_missing,
                resume=arguments.resume or ('auto' if restarted() else None),
                launcher=arguments.launcher,
                shard=arguments.shard,
                data=arguments.data,
                val_data=arguments.val_data,
                epochs=arguments.epochs,
                iters=arguments.iters,
            )
        (rehearse if arguments.dry_run else train)(cfg)


def main() -> None:
    arguments = parse_arguments()

    def guarded() -> None:
        with user_errors(arguments.debug, arguments.config):
            run(arguments)

    if arguments.launcher == 'none':
        guarded()
        return
    from torch.distributed.elastic.multiprocessing.errors import record

    record(guarded)()  # torchrun reports the traceback of the process that failed first


if __name__ == '__main__':
    main()
