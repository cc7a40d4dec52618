#!/usr/bin/env python
"""Measure channels, type, range, mean and standard deviation of images in a sample of a folder.

With --out, write them into a config that trains on these images; the other settings are those of
the config given by --config. JPEG, PNG, TIFF (through tifffile) and NPY, of 8 or 16 bits or
floating point, with any number of channels.
"""

from pathlib import Path

from mmmask.command_line import Parser, user_errors, user_path


def parse_arguments():
    parser = Parser(
        description=__doc__,
        epilog='Example:\n'
        '  tools/image_statistics.py data/scans --range 0 4095 --out scans.py \\\n'
        '      --config configs/mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py\n'
        '  tools/train.py scans.py',
    )
    parser.add_argument('source', type=user_path, help='folder or .zip file of images')
    parser.add_argument('--prefix', default='', help='take only what lies under this sub-folder')
    parser.add_argument(
        '--num', type=int, default=1000, help='images to read; 0 reads all (%(default)s)'
    )
    parser.add_argument('--channels', type=int, help="channels of an image (default: the files')")
    parser.add_argument(
        '--dtype',
        choices=['uint8', 'float32'],
        help='type of the pixels in training (default: uint8 for 8-bit files, float32 for others)',
    )
    parser.add_argument(
        '--range',
        nargs='+',
        type=float,
        metavar='VALUE',
        help='lowest and highest value in the files, or a pair of them for each channel',
    )
    parser.add_argument(
        '--clip',
        action='store_true',
        help='clip values to the range, and set NaN to its lowest value',
    )
    parser.add_argument('--config', type=user_path, help='config on which --out is based')
    parser.add_argument('--out', type=user_path, help='config to write; it must not exist')
    arguments = parser.parse_args()
    if arguments.range and len(arguments.range) % 2:
        parser.error('--range takes pairs of the lowest and the highest value.')
    if arguments.config and not arguments.out:
        parser.error('--config needs --out, the config to write.')
    return arguments


def plain(value: float) -> int | float:
    """Whole numbers without a point, as they are written by hand."""
    return int(value) if value == int(value) else value


def main() -> None:
    arguments = parse_arguments()
    with user_errors(arguments.debug, arguments.source):
        if arguments.out and Path(arguments.out).exists():
            raise FileExistsError(f'{arguments.out} exists: remove it, or choose another name.')
        from mmmask.datasets import config_text, measure_images

        bounds = [plain(value) for value in arguments.range or []]
        pairs = list(zip(bounds[::2], bounds[1::2], strict=True))
        statistics = measure_images(
            arguments.source,
            arguments.prefix,
            arguments.num,
            arguments.channels,
            arguments.dtype,
            pairs[0] if len(pairs) == 1 else pairs or None,
            arguments.clip,
        )
        print(statistics.describe())
        if arguments.out:
            out = Path(arguments.out)
            text = config_text(statistics, arguments.config, out)
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(text)
            print(f'The config is in {out}')


if __name__ == '__main__':
    main()
