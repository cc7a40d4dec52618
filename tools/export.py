"""Export the backbone of a pre-training to mmpretrain, mmdet, mmseg, timm or Hugging Face."""

from mmmask.command_line import Parser, user_errors, user_path

EXAMPLES = """
examples:
  a backbone for OpenMMLab; the config to paste is printed:
    python tools/export.py work_dirs/localmim/epoch_100.pth backbone.pth --to mmseg
  for timm:
    python tools/export.py work_dirs/localmim/epoch_100.pth backbone.safetensors --to timm

The tensors of the backbone are renamed, and each must have its place. The file is loaded, strictly,
into the library's own network. Both networks see the same images, and their features must agree to
1e-5 of the largest one. Otherwise nothing is written.
"""


def main() -> None:
    parser = Parser(description=__doc__, epilog=EXAMPLES)
    parser.add_argument(
        'checkpoint', type=user_path, help='checkpoint of a pre-training with mmmask'
    )
    parser.add_argument(
        'dst', type=user_path, help='file to write: .pth, or .safetensors for timm and huggingface'
    )
    parser.add_argument(
        '--to',
        dest='target',
        required=True,
        help='library: mmpretrain, mmdet, mmseg, timm or huggingface',
    )
    parser.add_argument(
        '--num-heads',
        type=int,
        help='attention heads of a layer, for a checkpoint without config and of no standard size',
    )
    args = parser.parse_args()
    with user_errors(args.debug):
        from mmmask.apis import export_backbone

        export = export_backbone(args.checkpoint, args.dst, args.target, args.num_heads)
    print(export.renaming)
    print(
        f'largest difference of the features, relative to the largest: {export.max_difference:.2g}'
    )
    print(f'wrote {args.dst}\n\n{export.snippet}\n{export.note}')


if __name__ == '__main__':
    main()
