#!/usr/bin/env python
"""Draw images, masks, targets and predictions of a pre-trained model into one picture.

With --evolution, draw the parts into which the model divides the images, and its masks, at several
stages of training: one for each checkpoint, or the whole schedule for a single checkpoint.

With --masks, draw the masks that the config makes for these images, before any training: several
samples, or the stages of the schedule if the masks change during training.

With --features, draw what the backbone has learned, from a checkpoint of the pre-training or from
the weights of --pretrained: the principal components of its patch features as colours (pca), the
attention of the class token (attention), the images with the most similar features (neighbours), a
point for each image (tsne), the loss at each hidden position (loss), or near-identical images
(duplicates), which are also listed in a CSV file beside the picture.

With --boxes, draw the heat maps of the model and the boxes that guide ContrastiveCrop, with a
column for each checkpoint.
"""

import argparse

from mmmask.command_line import FEATURE_PICTURES as KINDS
from mmmask.command_line import Parser, add_config_options, user_errors, user_path


def parse_arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        epilog='Examples:\n'
        '  tools/visualize.py configs/demo/localmim_vit-tiny_digits.py \\\n'
        '      work_dirs/demo/epoch_20.pth --images holiday.jpg cat.png --out picture.png\n'
        '  tools/visualize.py configs/demo/ehm_vit-tiny_digits.py work_dirs/demo/epoch_*.pth \\\n'
        '      --evolution --num 4\n'
        '  tools/visualize.py configs/demo/mae_vit-tiny_digits.py --masks --images FOLDER\n'
        '  tools/visualize.py configs/mae/mae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py \\\n'
        '      --features pca --pretrained hf-hub:facebook/vit-mae-base --images FOLDER\n'
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
    parser.add_argument('--features', choices=KINDS, help='draw what the backbone has learned')
    parser.add_argument(
        '--pretrained',
        type=user_path,
        metavar='WEIGHTS',
        help='weights of the backbone for --features, in place of a checkpoint: a file or a name, '
        'as for tools/train.py',
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
        help='picture to write (by default, named after what it shows, such as masks.png)',
    )
    parser.add_argument('--num', type=int, default=8, help='images to draw (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the masks (%(default)s)')
    add_config_options(parser)
    arguments = parser.parse_args()
    check_arguments(parser, arguments)
    return arguments


def check_arguments(parser: Parser, arguments: argparse.Namespace) -> None:
    """End the program with a message if options contradict each other."""
    kinds = arguments.masks, arguments.evolution, arguments.boxes, bool(arguments.features)
    if sum(kinds) > 1:
        parser.error('choose one of --masks, --evolution, --boxes and --features.')
    if arguments.pretrained and not arguments.features:
        parser.error('--pretrained gives the weights of --features only.')
    if arguments.pretrained and arguments.checkpoint:
        parser.error('give a checkpoint or --pretrained, not both.')
    if not arguments.checkpoint and not arguments.masks and not arguments.pretrained:
        parser.error('give a checkpoint, or --masks to draw masks without one.')
    if len(arguments.checkpoint) > 1 and not (arguments.evolution or arguments.boxes):
        parser.error('several checkpoints can only be drawn with --evolution or --boxes.')


def main() -> None:
    arguments = parse_arguments()
    with user_errors(arguments.debug, arguments.config):
        from mmmask.apis.validate import read_config

        cfg = read_config(arguments.config, arguments.cfg_options)
        path = draw(cfg, arguments)
    print(f'The picture is in {path}')


def draw(cfg, arguments: argparse.Namespace):
    """Draw the picture that the options ask for, and return its path."""
    from mmmask.apis import visualize
    from mmmask.apis.visualize_features import visualize_features

    checkpoint = arguments.checkpoint[0] if arguments.checkpoint else None
    images, out, num, seed = arguments.images, arguments.out, arguments.num, arguments.seed
    if arguments.features:
        kind, weights = arguments.features, arguments.pretrained
        return visualize_features(cfg, checkpoint, kind, images, out, num, seed, weights)
    if arguments.masks:
        return visualize.visualize_masks(cfg, checkpoint, images, out or 'masks.png', num, seed)
    if arguments.evolution:
        out, checkpoints = out or 'evolution.png', arguments.checkpoint
        return visualize.visualize_evolution(cfg, checkpoints, images, out, num, seed)
    if arguments.boxes:
        return visualize.visualize_boxes(cfg, arguments.checkpoint, images, out or 'boxes.png', num)
    return visualize.visualize(cfg, checkpoint, images, out or 'reconstruction.png', num, seed)


if __name__ == '__main__':
    main()
