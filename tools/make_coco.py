#!/usr/bin/env python
"""Convert the annotations of Pascal VOC (XML) or YOLO (text) to a COCO JSON.

What cannot be read is refused, with the file, the line and the reason. Files that this tool did not
write are never replaced.
"""

import argparse

from mmmask.command_line import Parser, user_errors, user_path


def parse_arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        epilog='Examples:\n'
        '  tools/make_coco.py data/fruit/Annotations data/fruit/JPEGImages data/fruit/all.json\n'
        '  tools/make_coco.py data/fruit/labels data/fruit/images data/fruit/all.json \\\n'
        '      --classes data/fruit/data.yaml',
    )
    parser.add_argument('annotations', type=user_path, help='folder of .xml or .txt files')
    parser.add_argument('images', type=user_path, help='folder of the images')
    parser.add_argument('out', type=user_path, help='COCO JSON to write')
    parser.add_argument(
        '--classes',
        type=user_path,
        metavar='FILE',
        help='names of the classes: a text file with one in each line, or a YAML file with "names"',
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with user_errors(arguments.debug, code=1):
        from mmmask.lab.annotations import write_coco

        content = write_coco(
            arguments.annotations, arguments.images, arguments.out, arguments.classes
        )
    print(
        f'{arguments.out}: {len(content["images"])} images, {len(content["annotations"])} objects, '
        f'classes {", ".join(one["name"] for one in content["categories"])}'
    )


if __name__ == '__main__':
    main()
