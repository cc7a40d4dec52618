"""ConvNeXt, versions 1 and 2, for OpenMMLab's libraries and timm."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from mmpretrain.models.backbones import ConvNeXt
from torch import Tensor

from mmmask.models.backbones import MaskedConvNeXt

from ..renaming import rename
from .family import (
    OPENMMLAB,
    PREFIX,
    Family,
    Plan,
    arguments,
    openmmlab_snippet,
    part,
    run,
    run_file,
)


class ConvNeXtFamily(Family):
    """mmdet and mmseg build mmpretrain's network."""

    name = 'ConvNeXt'
    targets = (*OPENMMLAB, 'timm')

    def matches(self, tensors: Mapping[str, Tensor]) -> bool:
        return f'{PREFIX}stages.0.0.depthwise_conv.weight' in tensors

    def plan(self, tensors: Mapping[str, Tensor], meta: Mapping, dst: Path, target: str) -> Plan:
        encoder = {name: t for name, t in tensors.items() if name.startswith(PREFIX)}
        options = read_options(part(encoder))
        if target == 'timm':
            renaming = rename(encoder, 'timm-convnext', 'ours')
            matched, content = renaming.matched, renaming.tensors
            theirs = dict(
                in_chans=options['in_channels'],
                num_classes=0,
                depths=options['arch']['depths'],
                dims=options['arch']['channels'],
                patch_size=options['stem_patch_size'],
                ls_init_value=options['layer_scale_init_value'] or None,
                use_grn=options['use_grn'],
            )
            features = partial(_run_timm, theirs)
            snippet = (
                'import timm\n\n'
                f'model = timm.models.ConvNeXt({arguments(theirs)})\n'
                f'timm.models.load_checkpoint(model, {str(dst)!r})\n'
            )
        else:
            content = dict(state_dict=encoder, meta={})
            matched = [((name,), (name,)) for name in encoder]
            plain = ConvNeXt(**options, gap_before_final_norm=False)
            features = partial(run_file, plain)
            gap = target == 'mmpretrain'
            backbone = dict(type='mmpretrain.ConvNeXt', **options, gap_before_final_norm=gap)
            snippet = openmmlab_snippet(dst, backbone)
        return Plan(
            matched,
            content,
            (options['in_channels'], 64, 96),
            lambda images: run(MaskedConvNeXt(**options), part(encoder), images)[-1:],
            lambda path, images: features(path, images)[-1:],
            snippet,
            'The norm behind the last stage was pre-trained; others that a network adds are new.',
        )


def read_options(encoder: Mapping[str, Tensor]) -> dict:
    """Tensors of a ConvNeXt -> arguments of mmpretrain's."""
    _, in_channels, stem_patch_size, _ = encoder['downsample_layers.0.0.weight'].shape
    depths = {}
    for name in encoder:
        kind, stage, *_ = name.split('.')
        if kind == 'stages' and name.endswith('.depthwise_conv.weight'):
            depths[int(stage)] = depths.get(int(stage), 0) + 1
    widths = [
        len(encoder[f'stages.{stage}.0.depthwise_conv.weight']) for stage in range(len(depths))
    ]
    return dict(
        arch=dict(depths=[depths[stage] for stage in range(len(depths))], channels=widths),
        in_channels=in_channels,
        stem_patch_size=stem_patch_size,
        use_grn='stages.0.0.grn.gamma' in encoder,
        layer_scale_init_value=1e-6 if 'stages.0.0.gamma' in encoder else 0.0,
        linear_pw_conv=encoder['stages.0.0.pointwise_conv1.weight'].dim() == 2,
        out_indices=[stage for stage in range(len(depths)) if f'norm{stage}.weight' in encoder],
    )


def _run_timm(options: Mapping, path: Path, images: Tensor) -> list[Tensor]:
    import timm

    network = timm.models.ConvNeXt(**options)
    timm.models.load_checkpoint(network, str(path))
    with torch.no_grad():
        return [network.eval().head.norm(network.forward_features(images))]
