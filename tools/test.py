#!/usr/bin/env python
"""Evaluate a checkpoint on the test set of a config.

Give the checkpoint of a trained model. For tests of a frozen backbone (k-NN and retrieval), give a
checkpoint of a pre-training with --pretrained. With neither, the weights are random: this is the
baseline of such a test.
"""

import argparse
import os
from pathlib import Path

from mmmask.command_line import (
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
        epilog='Examples:\n'
        '  tools/test.py configs/downstream/imagenet/vit-base-p16_finetune_8xb128-amp-coslr-100e_'
        'in1k.py \\\n      work_dirs/finetune/epoch_100.pth\n'
        '  tools/test.py configs/downstream/folder/knn.py \\\n'
        '      --pretrained work_dirs/localmim/epoch_100.pth\n'
        '  tools/test.py work_dirs/detection/detection.py work_dirs/detection/epoch_24.pth \\\n'
        '      --draw work_dirs/detection/worst',
    )
    parser.add_argument(
        'config', type=user_path, help='config file with test_dataloader and test_evaluator'
    )
    parser.add_argument(
        'checkpoint', nargs='?', type=user_path, help='checkpoint of the whole model'
    )
    parser.add_argument(
        '--pretrained',
        type=user_path,
        metavar='CHECKPOINT',
        help='test with the backbone of this pre-training checkpoint',
    )
    parser.add_argument(
        '--allow-missing',
        action='store_true',
        help='accept a --pretrained file that does not fill the whole backbone',
    )
    parser.add_argument(
        '--work-dir',
        type=user_path,
        help='folder of the log (default: work_dirs/<config name>)',
    )
    add_data_options(parser)
    parser.add_argument(
        '--draw',
        type=user_path,
        metavar='FOLDER',
        help='draw the 50 worst predictions beside the ground truth into this new folder',
    )
    add_config_options(parser, ', such as test_dataloader.batch_size=8')
    add_launcher(parser)
    arguments = parser.parse_args()
    if arguments.allow_missing and not arguments.pretrained:
        parser.error('--allow-missing is about the file of --pretrained: give one.')
    if arguments.draw and arguments.launcher != 'none':
        parser.error('--draw needs a test in one process, without --launcher.')
    if arguments.checkpoint and arguments.pretrained:
        parser.error('give a checkpoint of the whole model, or --pretrained, not both.')
    os.environ.setdefault('LOCAL_RANK', str(arguments.local_rank))
    return arguments


def load_all(runner, checkpoint: str) -> None:
    """Fill every tensor of the model."""
    from mmmask.checkpoints import CheckpointError

    try:
        runner.load_checkpoint(checkpoint, strict=True)
    except (CheckpointError, RuntimeError) as error:
        raise CheckpointError(
            f'{checkpoint} does not fill the model: {error}\nGive the checkpoint of a training '
            'with this config. To load only the backbone of a pre-training, use --pretrained.'
        ) from error


def run(arguments: argparse.Namespace) -> None:
    from mmmask.apis import ConfigError
    from mmmask.apis.rehearsal import RehearsalHook
    from mmmask.apis.train import build_runner, load_config

    work_dir = arguments.work_dir
    if arguments.data and not work_dir:  # keep the config that the training wrote
        work_dir = os.path.join('work_dirs', Path(arguments.config).stem, 'test')
    cfg = load_config(
        arguments.config,
        options={**(arguments.cfg_options or {}), 'load_from': arguments.checkpoint},
        work_dir=work_dir,
        pretrained=arguments.pretrained,
        allow_missing=arguments.allow_missing,
        launcher=arguments.launcher,
        data=arguments.data,
        val_data=arguments.val_data,
        test_only=True,
    )
    if cfg.get('test_dataloader') is None:
        raise ConfigError(
            'there is no test_dataloader. A pre-training is evaluated by k-NN while it trains '
            '(mmmask.OnlineKNNHook); to test a model, use a config of configs/downstream/.'
        )
    cfg.load_from = None  # mmengine would ignore tensors that do not fit
    runner, _ = build_runner(cfg)
    if arguments.checkpoint is None:
        runner._init_model_weights()  # mmengine initialises before training only
    else:
        load_all(runner, arguments.checkpoint)
    runner.register_hook(RehearsalHook())
    if arguments.draw:
        from mmmask.apis.draw import DrawPredictionsHook

        runner.register_hook(DrawPredictionsHook(arguments.draw))
    runner.test()


def main() -> None:
    arguments = parse_arguments()
    with user_errors(arguments.debug, arguments.config):
        from mmmask.apis.train import launched

        with launched(arguments.launcher):
            run(arguments)


if __name__ == '__main__':
    main()
