"""Convert checkpoints between the layouts of other projects and mmmask's."""

import argparse
import sys

from mmmask.apis import convert_checkpoint
from mmmask.checkpoints import LAYOUTS

DESCRIPTIONS = {name: layout.description for name, layout in LAYOUTS.items()}
DESCRIPTIONS['mmmask'] = 'checkpoints of this project'
WIDTH = max(map(len, DESCRIPTIONS)) + 2
HELP = 'layouts:\n' + '\n'.join(f'  {name:{WIDTH}}{text}' for name, text in DESCRIPTIONS.items())
HELP += """

One side is always mmmask. Encoder-only layouts are only read: tools/export.py writes encoders.
--pretrained of tools/train.py and tools/test.py reads all of these layouts without a conversion.

examples:
  official weights, to continue, evaluate or export:
    python tools/convert.py vit_base_localmim_hog_1600ep_pretrain.pth localmim.pth
  a file whose names fit two layouts:
    python tools/convert.py localmim_swin.pth swin.pth --from localmim-swin-swapped
  a pre-training of this project for the official fine-tuning code:
    python tools/convert.py work_dirs/mae/epoch_100.pth mae.pth --to mae

The file is read as data and never executed: one that asks for code is refused. Every tensor is
accounted for; unknown or missing names stop the conversion and are listed.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('src', help='checkpoint to read: a file of torch.save or .safetensors')
    parser.add_argument('dst', help='checkpoint to write: .pth or .safetensors')
    parser.add_argument(
        '--from', dest='source', help='layout of SRC, see below (recognised by the names)'
    )
    parser.add_argument('--to', dest='target', default='mmmask', help='layout of DST (mmmask)')
    args = parser.parse_args()
    try:
        print(convert_checkpoint(args.src, args.dst, args.source, args.target))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    print(f'wrote {args.dst}')


if __name__ == '__main__':
    main()
