#!/usr/bin/env python
"""Draw images, masks, targets and predictions of a pre-trained model into one picture.

With --evolution, draw the parts into which the model divides the images, and its masks, at several
stages of training: one for each checkpoint, or the whole schedule for a single checkpoint.

With --masks, draw the masks that the config makes for these images, before any training: several
samples, or the stages of the schedule if the masks change during training.

With --boxes, draw the heat maps of the model and the boxes that guide ContrastiveCrop, with a
column for each checkpoint.
"""

import argparse

from mmmask.command_line import ConfigOptions, Parser, user_errors, user_path


def parse_arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        epilog='Examples:\n'
        '  tools/visualize.py configs/demo/localmim_vit-tiny_digits.py \\\n'
        '      work_dirs/demo/epoch_20.pth --images holiday.jpg cat.png --out picture.png\n'
        '  tools/visualize.py configs/demo/ehm_vit-tiny_digits.py work_dirs/demo/epoch_*.pth \\\n'
        '      --evolution --num 4\n'
        '  tools/visualize.py configs/demo/mae_vit-tiny_digits.py --masks --images FOLDER\n'
        '  tools/visualize.py configs/demo/cmae-mao_vit-tiny_digits.py \\\n'
        '      work_dirs/demo/epoch_*.pth --boxes --num 4 \\\n'
        '      --cfg-options custom_hooks.0.heat_map=feat_norm custom_hooks.0.threshold=0.5',
    )
    parser.add_argument('config', type=user_path, help='config file of the pre-training')
    parser.add_argument(
        'checkpoint',
        nargs='*',
        type=user_path,
        help='checkpoint of that pre-training; several with --evolution or --boxes, and none or '
        'one with --masks',
    )
    parser.add_argument('--masks', action='store_true', help='draw masks; needs no checkpoint')
    parser.add_argument(
        '--evolution', action='store_true', help='draw parts and masks over the training'
    )
    parser.add_argument(
        '--boxes', action='store_true', help='draw the boxes of ContrastiveCrop over the training'
    )
    parser.add_argument(
        '--images',
        nargs='+',
        type=user_path,
        metavar='PATH',
        help="a folder, a .zip file, or image files (default: the config's training images)",
    )
    parser.add_argument(
        '--out',
        type=user_path,
        help='picture to write (reconstruction.png, masks.png, evolution.png or boxes.png)',
    )
    parser.add_argument('--num', type=int, default=8, help='images to draw (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the masks (%(default)s)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        default={},
        metavar='KEY=VALUE',
        help='override values of the config',
    )
    arguments = parser.parse_args()
    if arguments.masks + arguments.evolution + arguments.boxes > 1:
        parser.error('choose one of --masks, --evolution and --boxes.')
    if not arguments.checkpoint and not arguments.masks:
        parser.error('give a checkpoint, or --masks to draw masks without one.')
    if len(arguments.checkpoint) > 1 and not (arguments.evolution or arguments.boxes):
        parser.error('several checkpoints can only be drawn with --evolution or --boxes.')
    return arguments


def main() -> None:
    arguments = parse_arguments()
    with user_errors(arguments.debug, arguments.config):
        from mmmask.apis import visualize
        from mmmask.apis.validate import read_config

        checkpoint = arguments.checkpoint[0] if arguments.checkpoint else None
        draw, default = visualize.visualize, 'reconstruction.png'
        if arguments.masks:
            draw, default = visualize.visualize_masks, 'masks.png'
        if arguments.evolution:
            draw, default = visualize.visualize_evolution, 'evolution.png'
            checkpoint = arguments.checkpoint
        if arguments.boxes:
            draw, default = visualize.visualize_boxes, 'boxes.png'
            checkpoint = arguments.checkpoint
        path = draw(
            read_config(arguments.config, arguments.cfg_options),
            checkpoint,
            arguments.images,
            arguments.out or default,
            arguments.num,
            *([] if arguments.boxes else [arguments.seed]),
        )
    print(f'The picture is in {path}')


if __name__ == '__main__':
    main()
