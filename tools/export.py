"""Export the backbone of a pre-training to other libraries, model hubs, torch.export and ONNX."""

from mmmask.command_line import Parser, user_errors, user_path

EXAMPLES = """
examples:
  a backbone for OpenMMLab; the config to paste is printed:
    python tools/export.py work_dirs/localmim/epoch_100.pth backbone.pth --to mmseg
  for timm:
    python tools/export.py work_dirs/localmim/epoch_100.pth backbone.safetensors --to timm
  a folder with preprocessing and model card, uploaded to the Hugging Face hub:
    python tools/export.py work_dirs/localmim/epoch_100.pth localmim --to huggingface \\
        --push OWNER/NAME
  a program that runs without mmmask:
    python tools/export.py work_dirs/localmim/epoch_100.pth backbone.onnx --to onnx

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
        'dst',
        type=user_path,
        help='file to write: .pth; for timm and huggingface also .safetensors, or a folder; '
        '.pt2 for torch; .onnx for onnx',
    )
    parser.add_argument(
        '--to',
        dest='target',
        required=True,
        help='mmpretrain, mmdet, mmseg, timm, huggingface, torch (torch.export) or onnx',
    )
    parser.add_argument(
        '--num-heads',
        type=int,
        help='attention heads of a layer, for a checkpoint without config and of no standard size',
    )
    parser.add_argument(
        '--push',
        metavar='OWNER/NAME',
        help='upload the folder to this repository of the Hugging Face hub; a new one is private',
    )
    args = parser.parse_args()
    with user_errors(args.debug):
        from mmmask.apis import export_backbone

        export = export_backbone(args.checkpoint, args.dst, args.target, args.num_heads, args.push)
    print(export.renaming)
    print(
        f'largest difference of the features, relative to the largest: {export.max_difference:.2g}'
    )
    print(f'wrote {args.dst}\n\n{export.snippet}\n{export.note}')
    if export.address:
        print(f'uploaded to {export.address}')


if __name__ == '__main__':
    main()
