#!/usr/bin/env python
"""Write the images of a folder or zip archive as smaller JPEGs into a zip archive.

Training reads the archive in place, and decodes less in every epoch.
"""

import argparse
import sys

from mmmask.datasets import shrink_images


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='Example:\n'
        '  tools/shrink_images.py data/imagenet/train data/imagenet-train-320.zip --side 320',
    )
    parser.add_argument('source', help='folder or .zip file of images')
    parser.add_argument('archive', help='the .zip file to write; it must not exist')
    parser.add_argument('--side', type=int, default=320, help='short side in pixels (default: 320)')
    parser.add_argument('--quality', type=int, default=92, help='of the JPEGs (default: 92)')
    parser.add_argument('--prefix', default='', help='take only what lies under this sub-folder')
    arguments = parser.parse_args()
    try:
        written, unreadable = shrink_images(**vars(arguments))
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(str(error))
    print(f'{written:,} images in {arguments.archive}; {unreadable:,} were unreadable.')


if __name__ == '__main__':
    main()
