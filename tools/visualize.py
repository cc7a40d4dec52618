#!/usr/bin/env python
"""Draw images, masks, targets and predictions of a pre-trained model into one picture.

With --evolution, draw the parts into which the model divides the images, and its masks, at several
stages of training: one for each checkpoint, or the whole schedule for a single checkpoint.

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
        '  tools/visualize.py configs/demo/cmae-mao_vit-tiny_digits.py \\\n'
        '      work_dirs/demo/epoch_*.pth --boxes --num 4 \\\n'
        '      --cfg-options custom_hooks.0.heat_map=feat_norm custom_hooks.0.threshold=0.5',
    )
    parser.add_argument('config', type=user_path, help='config file of the pre-training')
    parser.add_argument(
        'checkpoint',
        nargs='+',
        type=user_path,
        help='checkpoint of that pre-training; several with --evolution or --boxes',
    )
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
        help='picture to write (reconstruction.png, evolution.png or boxes.png)',
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
    if arguments.evolution and arguments.boxes:
        parser.error('choose one of --evolution and --boxes.')
    if len(arguments.checkpoint) > 1 and not (arguments.evolution or arguments.boxes):
        parser.error('several checkpoints can only be drawn with --evolution or --boxes.')
    return arguments


def main() -> None:
    arguments = parse_arguments()
    with user_errors(arguments.debug, arguments.config):
        from mmmask.apis.validate import read_config
        from mmmask.apis.visualize import visualize, visualize_boxes, visualize_evolution

        draw, checkpoint, default = visualize, arguments.checkpoint[0], 'reconstruction.png'
        if arguments.evolution:
            draw, checkpoint, default = visualize_evolution, arguments.checkpoint, 'evolution.png'
        if arguments.boxes:
            draw, checkpoint, default = visualize_boxes, arguments.checkpoint, 'boxes.png'
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
