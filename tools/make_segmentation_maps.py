#!/usr/bin/env python
"""Make maps for semantic segmentation from the instance masks of a COCO JSON.

OUT/<file name>.png has 0 for the background and 1, 2, ... for the categories in the order of the
file. The smaller one of two overlapping instances is in front. Maps of images in sub-folders are in
the same sub-folders of OUT. Files that this tool did not write are never replaced.
"""

import argparse
import sys

from mmmask.lab.segmentation_maps import write_segmentation_maps


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='Example:\n'
        '  tools/make_segmentation_maps.py data/nuclei/train.json data/nuclei/maps/train',
    )
    parser.add_argument('annotations', help='COCO JSON with masks')
    parser.add_argument('out', help='output folder')
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    try:
        number = write_segmentation_maps(arguments.annotations, arguments.out)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(str(error))
    print(f'{number:,} maps are in {arguments.out}.')


if __name__ == '__main__':
    main()
