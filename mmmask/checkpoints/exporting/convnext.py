"""ConvNeXt, versions 1 and 2, for OpenMMLab's libraries and timm."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from mmpretrain.models.backbones import ConvNeXt
from torch import Tensor, nn

from mmmask.models.backbones import MaskedConvNeXt

from ..renaming import rename
from .card import image_size
from .family import (
    OPENMMLAB,
    PREFIX,
    Family,
    Plan,
    loaded,
    openmmlab_snippet,
    part,
    run,
    run_file,
    run_timm,
    timm_config,
    timm_snippet,
)
from .folders import is_folder, loading_code


class ConvNeXtFamily(Family):
    """mmdet and mmseg build mmpretrain's network."""

    name = 'ConvNeXt'
    targets = (*OPENMMLAB, 'timm')

    def matches(self, tensors: Mapping[str, Tensor]) -> bool:
        return f'{PREFIX}stages.0.0.depthwise_conv.weight' in tensors

    def plan(self, tensors: Mapping[str, Tensor], meta: Mapping, dst: Path, target: str) -> Plan:
        encoder = {name: t for name, t in tensors.items() if name.startswith(PREFIX)}
        options, hub = read_options(part(encoder)), None
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
            snippet = timm_snippet('ConvNeXt', theirs, dst)
            hub = timm_config('convnext_base', theirs['dims'][-1], theirs)
        else:
            content = dict(state_dict=encoder, meta={})
            matched = [((name,), (name,)) for name in encoder]
            plain = ConvNeXt(**options, gap_before_final_norm=False)
            features = partial(run_file, plain)
            gap = target == 'mmpretrain'
            backbone = dict(type='mmpretrain.ConvNeXt', **options, gap_before_final_norm=gap)
            snippet = openmmlab_snippet(dst, backbone)
        size = 64, 96
        if is_folder(dst, target):
            snippet, size = loading_code(target, str(dst)), image_size(meta)
        return Plan(
            matched,
            content,
            (options['in_channels'], *size),
            lambda images: run(MaskedConvNeXt(**options), part(encoder), images)[-1:],
            lambda path, images: features(path, images)[-1:],
            snippet,
            'The norm after the last stage was pre-trained; others that a network adds are new.',
            hub,
        )

    def network(
        self, tensors: Mapping[str, Tensor], meta: Mapping
    ) -> tuple[ConvNeXt, tuple[int, int, int]]:
        encoder = part(tensors)
        options = read_options(encoder)
        network = loaded(ConvNeXt(**options, gap_before_final_norm=False), encoder)
        return network, (options['in_channels'], *image_size(meta))


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
    def build() -> nn.Module:
        from timm.models import ConvNeXt as Theirs

        return Theirs(**options)

    network, maps = run_timm(build, path, images)
    return [network.head.norm(maps)]
