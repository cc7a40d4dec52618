"""Pre-trained backbones in the layout of other libraries, checked by running them there.

An encoder family is a module with a :class:`Family`; to add one, write it and enter it in
``FAMILIES``.
"""

from pathlib import Path

from mmmask.doctor import tool
from mmmask.outputs import refuse_to_replace

from ..files import CheckpointError, find_tensors, open_checkpoint
from ..recognition import recognize
from .convnext import ConvNeXtFamily
from .family import OPENMMLAB, PREFIX, Export, Family, Plan
from .folders import check_repository, is_folder, push_folder
from .programs import PROGRAMS
from .resnet import ResNetFamily
from .swin import SwinFamily
from .vit import ViTFamily

__all__ = ['FAMILIES', 'TARGETS', 'Export', 'Family', 'Plan', 'PROGRAMS', 'export_backbone']
FAMILIES: tuple[Family, ...] = (
    ViTFamily(),
    SwinFamily(),
    ResNetFamily(),
    ConvNeXtFamily(),
)
TARGETS = tuple(dict.fromkeys(target for family in FAMILIES for target in family.targets))


def export_backbone(
    src: str | Path,
    dst: str | Path,
    target: str = 'mmpretrain',
    num_heads: int | None = None,
    repository: str | None = None,
    measured: str | None = None,
) -> Export:
    """Write the backbone of the mmmask checkpoint ``src`` to ``dst`` for another library.

    The file is loaded into the library's own network, strictly, and that network must give the
    same features as mmmask for the same images; otherwise nothing is written.

    Args:
        src: checkpoint of a pre-training; only the tensors of its ``backbone`` are used, and for
            mmdet those of a ResNet's feature pyramid.
        dst: file to write, ``.pth`` or, for timm and Hugging Face, ``.safetensors`` or a folder;
            ``.pt2`` for torch and ``.onnx`` for onnx.
        target: ``'mmpretrain'``, ``'mmdet'``, ``'mmseg'``, ``'timm'``, ``'huggingface'``,
            ``'torch'`` (a program of ``torch.export``) or ``'onnx'``.
        num_heads: attention heads of a layer of a vision transformer, which are in no tensor.
            Needed only if neither the config in the checkpoint nor a standard architecture of this
            size gives them.
        repository: ``OWNER/NAME`` on the Hugging Face hub to upload the folder to.
        measured: Markdown about the quality of the features, for the model card of a folder.

    Raises:
        ValueError: for an unknown target.
        CheckpointError: if a tensor of the backbone has no place in the target, if the number of
            heads is unknown, if the features differ, or if the upload is not possible.
        FileExistsError: if a file that would be replaced was not written by mmmask.
        ModuleNotFoundError: if the target is not installed.
    """
    if target not in (*TARGETS, *PROGRAMS):
        targets = ', '.join((*TARGETS, *PROGRAMS))
        raise ValueError(f"target='{target}' is not one of {targets}.")
    dst = Path(dst)
    is_file = not is_folder(dst, target)
    if is_file:
        refuse_to_replace(dst)
    if repository:
        if is_file:
            raise CheckpointError(
                f'--push uploads a folder for huggingface or timm, not {dst} for {target}.'
            )
        check_repository(repository)
    if target in OPENMMLAB and dst.suffix != '.pth':
        raise CheckpointError(
            f"{dst}: mmengine reads .pth files only, so target='{target}' needs such a name."
        )
    checkpoint = open_checkpoint(src)
    tensors = find_tensors(checkpoint, src)
    known = dict(num_heads=num_heads, measured=measured)
    meta = dict(checkpoint.get('meta') or {}) | {k: v for k, v in known.items() if v}
    if not any(name.startswith(PREFIX) for name in tensors):
        match = recognize(tensors)
        if match.fits:
            layout = f'{tool("convert.py")} --from {match.layout}'
            raise CheckpointError(f'the file is {match}: convert it with {layout} first.')
        tensors = {f'{PREFIX}{name}': tensor for name, tensor in tensors.items()}
    for family in FAMILIES:
        if family.matches(tensors):
            export = family.export(tensors, meta, dst, target, repository)
            return export._replace(address=push_folder(dst, repository)) if repository else export
    names = ', '.join(family.name for family in FAMILIES)
    parts = sorted({name.removeprefix(PREFIX).partition('.')[0] for name in tensors})
    raise CheckpointError(
        f'the backbone of {src} belongs to no family that can be exported ({names}). The first '
        f'parts of its names are {", ".join(parts[:10])}.'
    )
