"""Swin transformers, for OpenMMLab's libraries and timm."""

import re
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmpretrain.models.backbones import SwinTransformer
from torch import Tensor, nn

from mmmask.models.backbones import MaskedSwinTransformer

from ..architecture import SwinArchitecture, read_swin_architecture
from ..files import CheckpointError, find_tensors, open_checkpoint
from ..renaming import rename
from ..verified import relative_difference, write_verified

TARGETS = ('mmpretrain', 'mmdet', 'mmseg', 'timm')
PREFIX = 'backbone.'
EPSILON = 1e-6
LAYER_NORM = dict(type='LN', eps=EPSILON)
# Norms of taps behind the patch merging, which belong to the decoders of pre-training.
TAP_NORM = re.compile(r'norm[012]\.')
# A constant of OpenMMLab's, which timm computes.
INDEX = 'relative_position_index'


def is_swin(tensors: dict[str, Tensor]) -> bool:
    """Whether the backbone of a checkpoint is a Swin transformer."""
    return f'{PREFIX}stages.0.blocks.0.attn.w_msa.relative_position_bias_table' in tensors


def export_swin(
    tensors: dict[str, Tensor], meta: dict, dst: Path, target: str
) -> tuple[dict[str, str], float, str]:
    """Write the encoder, checked by running it there.

    The norm behind the last stage is kept. Those of pre-training's other taps stand behind the
    patch merging, where no other network has one, and are left out.

    Args:
        tensors: of the checkpoint, by name.
        meta: of the checkpoint.
        dst: file to write, ``.pth``, or ``.safetensors`` for timm.
        target: one of ``TARGETS``.

    Returns:
        What each tensor that was exported is called there; the largest difference of the features
        relative to the largest feature; and code or a config that loads the file.

    Raises:
        CheckpointError: for another target or architecture, or if the features differ.
    """
    if target not in TARGETS:
        raise CheckpointError(
            f"the backbone is a Swin transformer, which target='{target}' is not written for: use "
            f'one of {", ".join(TARGETS)}.'
        )
    encoder = {n.removeprefix(PREFIX): t for n, t in tensors.items() if n.startswith(PREFIX)}
    encoder = {n: t.float() for n, t in encoder.items() if not TAP_NORM.match(n)}
    architecture = read_swin_architecture(encoder, meta)
    if target == 'timm':
        ours = {f'{PREFIX}{n}': t for n, t in encoder.items() if not n.endswith(INDEX)}
        renaming = rename(ours, 'timm-swin', 'ours')
        names = {old: new for (old,), (new,) in renaming.matched}
        content = _neutral_norm(architecture) | renaming.tensors
    else:
        names = {f'{PREFIX}{name}': f'{PREFIX}{name}' for name in encoder}
        state_dict = {f'{PREFIX}{name}': tensor for name, tensor in encoder.items()}
        content = dict(state_dict=state_dict, meta=architecture.options)
    difference = write_verified(
        content, dst, target, lambda draft: _difference(encoder, draft, target, architecture)
    )
    snippet = _timm_snippet if target == 'timm' else partial(_openmmlab_snippet, target)
    return names, difference, snippet(dst, architecture)


def _neutral_norm(a: SwinArchitecture) -> dict[str, Tensor]:
    """timm always has a last norm: weight 1 and bias 0 where the encoder has none."""
    return {'norm.weight': torch.ones(a.widths[-1]), 'norm.bias': torch.zeros(a.widths[-1])}


@torch.no_grad()
def _difference(encoder: dict[str, Tensor], path: Path, target: str, a: SwinArchitecture) -> float:
    """Largest difference of the file's features from mmmask's, relative to the largest feature."""
    theirs = find_tensors(open_checkpoint(path))
    plain = {name: tensor for name, tensor in encoder.items() if not name.startswith('norm3')}
    options = a.options | dict(norm_cfg=None, out_indices=(0, 1, 2, 3))
    with torch.random.fork_rng(devices=[]):
        images = torch.randn(2, a.in_channels, *a.img_size)
        expected = _run(MaskedSwinTransformer(**options), plain, images)
        if target == 'timm':
            last = expected[-1].permute(0, 2, 3, 1)
            weight, bias = (theirs[f'norm.{name}'] for name in ('weight', 'bias'))
            expected = [F.layer_norm(last, last.shape[-1:], weight, bias, EPSILON)]
            features = [_timm_network(a, theirs).forward_features(images)]
        else:
            theirs = {name.removeprefix(PREFIX): tensor for name, tensor in theirs.items()}
            theirs = {name: theirs[name] for name in plain}
            features = _run(SwinTransformer(**options), theirs, images)
    return relative_difference(features, expected)


def _run(network: nn.Module, tensors: dict[str, Tensor], images: Tensor) -> list[Tensor]:
    network.load_state_dict(tensors, strict=True)
    network.eval()
    return list(network(images))


def _timm_options(a: SwinArchitecture) -> dict:
    if len(set(a.windows[:-1])) > 1:
        raise CheckpointError(
            f'timm has one window for all stages but the last, and this encoder {a.windows}.'
        )
    return dict(
        img_size=a.image_size,
        patch_size=a.patch_size,
        in_chans=a.in_channels,
        num_classes=0,
        embed_dim=a.widths[0],
        depths=a.depths,
        num_heads=a.num_heads,
        window_size=a.windows[0],
    )


def _timm_network(a: SwinArchitecture, tensors: dict[str, Tensor]) -> nn.Module:
    from timm.models import SwinTransformer as Theirs

    network = Theirs(**_timm_options(a), norm_layer=partial(nn.LayerNorm, eps=EPSILON))
    network.load_state_dict(tensors, strict=True)
    return network.eval()


def _timm_snippet(path: Path, a: SwinArchitecture) -> str:
    arguments = ''.join(f'    {key}={value!r},\n' for key, value in _timm_options(a).items())
    return (
        'from functools import partial\n\nimport timm\nfrom torch import nn\n\n'
        f'model = timm.models.SwinTransformer(\n{arguments}'
        f'    norm_layer=partial(nn.LayerNorm, eps={EPSILON}),\n)\n'
        f'timm.models.load_checkpoint(model, {str(path)!r})\n'
    )


def _openmmlab_snippet(target: str, path: Path, a: SwinArchitecture) -> str:
    backbone = dict(
        type='mmpretrain.SwinTransformer',
        **a.options,
        norm_cfg=LAYER_NORM,
        out_indices=(3,) if target == 'mmpretrain' else (0, 1, 2, 3),
        init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix=PREFIX),
    )
    if target != 'mmpretrain':
        backbone['pad_small_map'] = True  # images may be smaller than a window at the last stage
    return Config(dict(backbone=backbone)).pretty_text
