#!/usr/bin/env python
"""Write the images of a folder or zip archive as smaller JPEGs into a zip archive.

Training reads the archive in place, and decodes less in every epoch.
"""

from mmmask.command_line import USER_ERRORS, Parser, user_errors, user_path


def main() -> None:
    parser = Parser(
        description=__doc__,
        epilog='Example:\n'
        '  tools/shrink_images.py data/imagenet/train data/imagenet-train-320.zip --side 320',
    )
    parser.add_argument('source', type=user_path, help='folder or .zip file of images')
    parser.add_argument('archive', type=user_path, help='the .zip file to write; it must not exist')
    parser.add_argument('--side', type=int, default=320, help='short side in pixels (default: 320)')
    parser.add_argument('--quality', type=int, default=92, help='JPEG quality (default: 92)')
    parser.add_argument('--prefix', default='', help='take only what lies under this sub-folder')
    arguments = parser.parse_args()
    with user_errors(arguments.debug, kinds=(*USER_ERRORS, RuntimeError)):
        from mmmask.datasets import shrink_images

        written, unreadable = shrink_images(
            arguments.source,
            arguments.archive,
            side=arguments.side,
            quality=arguments.quality,
            prefix=arguments.prefix,
        )
    print(f'{written:,} images in {arguments.archive}; {unreadable:,} were unreadable.')


if __name__ == '__main__':
    main()
