"""Convert checkpoints between the layouts of other projects and mmmask's."""

import argparse

from mmmask.command_line import Parser, user_errors, user_path

HELP = """
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


class PrintLayouts(argparse.Action):
    """Print every layout with its description, and leave."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        from mmmask.checkpoints import LAYOUTS

        texts = {name: layout.description for name, layout in LAYOUTS.items()}
        texts['mmmask'] = 'checkpoints of this project'
        width = max(map(len, texts)) + 2
        print('\n'.join(f'  {name:{width}}{text}' for name, text in texts.items()))
        parser.exit()


def main() -> None:
    parser = Parser(description=__doc__, epilog=HELP)
    parser.add_argument(
        'src', type=user_path, help='checkpoint to read: a file of torch.save or .safetensors'
    )
    parser.add_argument('dst', type=user_path, help='checkpoint to write: .pth or .safetensors')
    parser.add_argument(
        '--from', dest='source', help='layout of SRC (recognised by the names of its tensors)'
    )
    parser.add_argument('--to', dest='target', default='mmmask', help='layout of DST (mmmask)')
    parser.add_argument('--layouts', nargs=0, action=PrintLayouts, help='list the layouts')
    args = parser.parse_args()
    with user_errors(args.debug):
        from mmmask.apis import convert_checkpoint

        print(convert_checkpoint(args.src, args.dst, args.source, args.target))
    print(f'wrote {args.dst}')


if __name__ == '__main__':
    main()
