"""Pre-trained backbones in the layout of other libraries, checked by running them there."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor

from mmmask.models.backbones import MaskedVisionTransformer

from .architecture import Architecture, read_architecture
from .exporting.resnet import export_resnet, is_resnet
from .exporting.swin import export_swin, is_swin
from .files import CheckpointError, find_tensors, open_checkpoint
from .renaming import Renaming, rename
from .verified import relative_difference, write_verified

PREFIX = 'backbone.'


class Export(NamedTuple):
    """What an export did.

    Attributes:
        renaming: which tensor went where, and which were left out.
        max_difference: largest difference between the features in mmmask and in the target's
            network, relative to the largest feature.
        snippet: code or config that loads the file.
        note: what a user of the file must know beyond the snippet.
    """

    renaming: Renaming
    max_difference: float
    snippet: str
    note: str


def export_backbone(
    src: str | Path, dst: str | Path, target: str = 'mmpretrain', num_heads: int | None = None
) -> Export:
    """Write the backbone of the mmmask checkpoint ``src`` to ``dst`` for another library.

    The file is loaded into the library's own network, strictly, and that network must give the
    features that mmmask's gives for the same images; otherwise nothing is written.

    Args:
        src: checkpoint of a pre-training; only the tensors of its ``backbone`` are used.
        dst: file to write, ``.pth`` or, for timm and Hugging Face, ``.safetensors``.
        target: ``'mmpretrain'``, ``'mmdet'``, ``'mmseg'``, ``'timm'`` or ``'huggingface'``.
        num_heads: attention heads of a layer, which no tensor tells. Needed only if neither the
            config in the checkpoint nor a standard architecture of this size does.

    Raises:
        ValueError: for an unknown target.
        CheckpointError: unless every tensor of the backbone has its place in the target; if the
            number of heads is unknown; if the features differ.
        ModuleNotFoundError: if the target is not installed.
    """
    if target not in LIBRARIES:
        raise ValueError(f"target='{target}' is not one of {', '.join(LIBRARIES)}.")
    library, dst = LIBRARIES[target], Path(dst)
    if library.layout is None and dst.suffix != '.pth':
        raise CheckpointError(
            f"{dst}: mmengine reads .pth files only, so target='{target}' needs such a name."
        )
    checkpoint = open_checkpoint(src)
    tensors = find_tensors(checkpoint, src)
    encoder = {k: v.float() for k, v in tensors.items() if k.startswith(PREFIX)}
    if not encoder:
        parts = sorted({name.partition('.')[0] for name in tensors})
        raise CheckpointError(
            f"{src} has no tensors named '{PREFIX}*', only {', '.join(parts[:10])}: convert it "
            'with tools/convert.py first.'
        )
    if is_resnet(tensors):
        difference, snippet = export_resnet(tensors, dst, target)
        moved = [((name,), (name,)) for name in encoder]
        left_out = [name for name in tensors if name not in encoder]
        note = 'Every stage is given, so choose out_indices.'
        return Export(Renaming(encoder, moved, left_out), difference, snippet, note)
    if is_swin(tensors):
        meta = checkpoint.get('meta') or {}
        names, difference, snippet = export_swin(tensors, meta, dst, target)
        moved = [((ours,), (theirs,)) for ours, theirs in names.items()]
        left_out = [name for name in tensors if name not in names]
        exported = {theirs: tensors[ours] for ours, theirs in names.items()}
        note = (
            'The norm behind the last stage is that of pre-training if it had one, and norms of '
            'other stages are new.'
        )
        return Export(Renaming(exported, moved, left_out), difference, snippet, note)
    # OpenMMLab's names are mmmask's own; the other table still tells what is unknown or missing.
    renaming = rename(encoder, library.layout or 'timm', 'ours')
    if library.layout is None:
        renaming = Renaming(encoder, [((name,), (name,)) for name in encoder], [])
    renaming = renaming._replace(left_out=[name for name in tensors if name not in encoder])
    architecture = read_architecture(encoder, checkpoint.get('meta') or {}, num_heads)
    difference = write_verified(
        library.pack(renaming.tensors, architecture),
        dst,
        target,
        lambda draft: _difference(encoder, draft, library, architecture),
    )
    note = library.notes[architecture.final_norm]
    return Export(renaming, difference, library.snippet(dst, architecture), note)


def _difference(
    encoder: dict[str, Tensor], path: Path, library: 'Library', a: Architecture
) -> float:
    """Largest difference of the file's features from mmmask's, relative to the largest feature."""
    # Building a network draws random numbers, which must not disturb the caller's.
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        images = torch.randn(2, a.in_channels, *a.img_size)
        expected = _tokens(MaskedVisionTransformer(**a.options), encoder, images)
        features = library.features(path, a, images)
    return relative_difference([features], [expected])


def _tokens(network: VisionTransformer, tensors: dict[str, Tensor], images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 1+N, D) with the tensors named ``backbone.*``, and no others, loaded."""
    network.load_state_dict({k.removeprefix(PREFIX): v for k, v in tensors.items()})
    network.eval()
    return network(images)[-1]


class Library(NamedTuple):
    """How a target stores, builds and explains a vision transformer.

    Attributes:
        layout: the table of its names; None for mmmask's own names.
        pack: renamed tensors -> what the file holds.
        features: file, images (B, C, H, W) -> all tokens (B, 1+N, D) behind the last layer.
        snippet: code or config that loads the file.
        notes: what to know about it, without and with a final norm.
    """

    layout: str | None
    pack: Callable[[dict[str, Tensor], Architecture], dict]
    features: Callable[[Path, Architecture, Tensor], Tensor]
    snippet: Callable[[Path, Architecture], str]
    notes: tuple[str, str]


def _openmmlab_pack(tensors: dict[str, Tensor], a: Architecture) -> dict:
    return dict(state_dict=tensors, meta=a.options)


def _openmmlab_features(path: Path, a: Architecture, images: Tensor) -> Tensor:
    tensors = find_tensors(open_checkpoint(path))
    return _tokens(VisionTransformer(**a.options, out_type='raw'), tensors, images)


def _openmmlab_snippet(target: str, path: Path, a: Architecture) -> str:
    depth = a.arch['num_layers']
    # Four levels: the taps of pre-training where there are four, else the end of each quarter.
    quarters = sorted({max(depth * quarter // 4 - 1, 0) for quarter in (1, 2, 3, 4)})
    outputs = dict(
        mmpretrain=dict(out_type='cls_token' if a.final_norm else 'avg_featmap'),
        mmdet=dict(out_type='featmap', out_indices=[depth - 1]),
        mmseg=dict(
            out_type='featmap',
            out_indices=list(a.out_indices) if len(a.out_indices) == 4 else quarters,
        ),
    )
    backbone = dict(
        type='mmpretrain.VisionTransformer',
        **a.options,
        **outputs[target],
        init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix=PREFIX),
    )
    return Config(dict(backbone=backbone)).pretty_text


def _timm_options(a: Architecture) -> dict:
    return dict(
        img_size=a.image_size,
        patch_size=a.patch_size,
        in_chans=a.in_channels,
        embed_dim=a.arch['embed_dims'],
        depth=a.arch['num_layers'],
        num_heads=a.arch['num_heads'],
        mlp_ratio=a.arch['feedforward_channels'] / a.arch['embed_dims'],
        num_classes=0,
        final_norm=a.final_norm,
    )


def _timm_features(path: Path, a: Architecture, images: Tensor) -> Tensor:
    import timm

    network = timm.models.VisionTransformer(**_timm_options(a)).eval()
    timm.models.load_checkpoint(network, str(path))
    return network.forward_features(images)


def _timm_snippet(path: Path, a: Architecture) -> str:
    return (
        'import timm\n\n'
        f'model = timm.models.VisionTransformer({_arguments(_timm_options(a))})\n'
        f'timm.models.load_checkpoint(model, {str(path)!r})\n'
    )


def _huggingface_options(a: Architecture) -> dict:
    return dict(
        image_size=a.image_size,
        patch_size=a.patch_size,
        num_channels=a.in_channels,
        hidden_size=a.arch['embed_dims'],
        num_hidden_layers=a.arch['num_layers'],
        num_attention_heads=a.arch['num_heads'],
        intermediate_size=a.arch['feedforward_channels'],
        layer_norm_eps=1e-6,
    )


def _huggingface_pack(tensors: dict[str, Tensor], a: Architecture) -> dict:
    width = a.arch['embed_dims']
    plain = {'layernorm.weight': torch.ones(width), 'layernorm.bias': torch.zeros(width)}
    return plain | tensors


def _huggingface_features(path: Path, a: Architecture, images: Tensor) -> Tensor:
    from transformers import ViTConfig, ViTModel

    network, report = ViTModel.from_pretrained(
        None,
        config=ViTConfig(**_huggingface_options(a)),
        state_dict=find_tensors(open_checkpoint(path)),
        add_pooling_layer=False,
        output_loading_info=True,
    )
    unmatched = {kind: sorted(map(str, names)) for kind, names in report.items() if names}
    if unmatched:
        raise CheckpointError(f'ViTModel of transformers did not match every tensor: {unmatched}.')
    unnormed = []
    network.layernorm.register_forward_pre_hook(lambda _, inputs: unnormed.append(inputs[0]))
    output = network.eval()(images).last_hidden_state
    return output if a.final_norm else unnormed[0]


def _huggingface_snippet(path: Path, a: Architecture) -> str:
    reader, tensors = (
        ('from safetensors.torch import load_file', f'load_file({str(path)!r})')
        if path.suffix == '.safetensors'
        else ('import torch', f'torch.load({str(path)!r}, weights_only=True)')
    )
    return (
        f'{reader}\n'
        'from transformers import ViTConfig, ViTModel\n\n'
        f'config = ViTConfig({_arguments(_huggingface_options(a))})\n'
        'model = ViTModel.from_pretrained(\n'
        f'    None, config=config, state_dict={tensors}, add_pooling_layer=False\n)\n'
    )


def _arguments(options: dict) -> str:
    return '\n' + ''.join(f'    {key}={value!r},\n' for key, value in options.items())


LIBRARIES = {
    **{
        target: Library(
            None,
            _openmmlab_pack,
            _openmmlab_features,
            partial(_openmmlab_snippet, target),
            notes,
        )
        for target, notes in {
            'mmpretrain': (
                'The encoder has no final norm. The snippet averages the patch tokens and norms '
                'the average with ln2, which is new.',
                'The snippet gives the class token behind the final norm.',
            ),
            'mmdet': (
                'The snippet gives one map of stride patch_size, without a final norm.',
                'The snippet gives one map of stride patch_size, behind the final norm.',
            ),
            'mmseg': (
                'The snippet gives maps of stride patch_size, without a final norm.',
                'The snippet gives maps of stride patch_size, the last behind the final norm.',
            ),
        }.items()
    },
    'timm': Library(
        'timm',
        lambda tensors, a: tensors,
        _timm_features,
        _timm_snippet,
        (
            'The encoder has no final norm, so the snippet builds the network without one. To '
            "fine-tune, build it with num_classes=... and global_pool='avg', without final_norm, "
            'and load with strict=False: only head and fc_norm are new.',
            "The final norm is timm's norm.",
        ),
    ),
    'huggingface': Library(
        'huggingface',
        _huggingface_pack,
        _huggingface_features,
        _huggingface_snippet,
        (
            'The encoder has no final norm but ViTModel always has one: the file gives it weight 1 '
            'and bias 0, and the tokens before it were compared.',
            "The final norm is ViTModel's layernorm.",
        ),
    ),
}
