#!/usr/bin/env python
"""Make maps for semantic segmentation from the instance masks of a COCO JSON.

OUT/<file name>.png has 0 for the background and 1, 2, ... for the categories in the order of the
file. The smaller one of two overlapping instances is in front. Maps of images in sub-folders are in
the same sub-folders of OUT. Files that this tool did not write are never replaced.
"""

import argparse

from mmmask.command_line import Parser, user_errors, user_path


def parse_arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        epilog='Example:\n'
        '  tools/make_segmentation_maps.py data/nuclei/train.json data/nuclei/maps/train',
    )
    parser.add_argument('annotations', type=user_path, help='COCO JSON with masks')
    parser.add_argument('out', type=user_path, help='output folder')
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with user_errors(arguments.debug, code=1):
        from mmmask.lab.segmentation_maps import write_segmentation_maps

        number = write_segmentation_maps(arguments.annotations, arguments.out)
    print(f'{number:,} maps are in {arguments.out}.')


if __name__ == '__main__':
    main()
