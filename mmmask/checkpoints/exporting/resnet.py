"""ResNets, and the feature pyramids trained with them, for OpenMMLab's libraries."""

from collections.abc import Mapping
from pathlib import Path

from mmpretrain.models.backbones import ResNet
from torch import Tensor

from mmmask.models.necks import FeaturePyramid

from ..files import CheckpointError, find_tensors, open_checkpoint
from .card import image_size
from .family import OPENMMLAB, PREFIX, Family, Plan, loaded, openmmlab_snippet, part, run

PYRAMID, NECK = 'fpn.', 'neck.'
NORM = dict(type='BN')  # has the same tensors as SyncBN
# Blocks of each stage, and whether they are bottlenecks -> depth.
DEPTHS = {
    ((2, 2, 2, 2), False): 18,
    ((3, 4, 6, 3), False): 34,
    ((3, 4, 6, 3), True): 50,
    ((3, 4, 23, 3), True): 101,
    ((3, 8, 36, 3), True): 152,
}


class ResNetFamily(Family):
    """For mmdet the pyramid is exported as well, as ``neck``."""

    name = 'ResNet'
    targets = OPENMMLAB
    alternative = ' Apart from the prefix, the names in such a file are those of timm too.'

    def matches(self, tensors: Mapping[str, Tensor]) -> bool:
        return {f'{PREFIX}conv1.weight', f'{PREFIX}layer4.0.conv1.weight'} <= tensors.keys()

    def plan(self, tensors: Mapping[str, Tensor], meta: Mapping, dst: Path, target: str) -> Plan:
        backbone = part(tensors)
        pyramid = part(tensors, PYRAMID) if target == 'mmdet' else {}
        neck = without_biases(pyramid)
        options = _options(backbone)
        content = {f'{PREFIX}{name}': tensor for name, tensor in backbone.items()}
        matched = [((name,), (name,)) for name in content]
        for name in neck:
            bias = name.replace('bn.running_mean', 'conv.bias')
            names = [name] if bias not in pyramid or bias == name else [name, bias]
            matched.append((tuple(f'{PYRAMID}{n}' for n in names), (f'{NECK}{name}',)))
        content |= {f'{NECK}{name}': tensor for name, tensor in neck.items()}
        levels = _levels(pyramid)

        def expected(images: Tensor) -> list[Tensor]:
            maps = run(ResNet(**options), backbone, images)
            if not pyramid:
                return maps
            return [*maps, *run(FeaturePyramid(**levels, norm_cfg=NORM), pyramid, maps)]

        def features(path: Path, images: Tensor) -> list[Tensor]:
            theirs = find_tensors(open_checkpoint(path))
            maps = run(_network(target)(**options), part(theirs), images)
            if not pyramid:
                return maps
            from mmdet.models import FPN

            network = FPN(**levels, num_outs=len(maps), norm_cfg=NORM)
            return [*maps, *run(network, part(theirs, NECK), maps)]

        return Plan(
            matched,
            dict(state_dict=content, meta={}),
            (options['in_channels'], 64, 96),
            expected,
            features,
            _snippet(dst, target, options['depth'], levels),
            'The file contains all stages: choose out_indices as needed.',
        )

    def network(
        self, tensors: Mapping[str, Tensor], meta: Mapping
    ) -> tuple[ResNet, tuple[int, int, int]]:
        backbone = part(tensors)
        options = _options(backbone)
        return loaded(ResNet(**options), backbone), (options['in_channels'], *image_size(meta))


def _options(backbone: Mapping[str, Tensor]) -> dict:
    """Tensors of a ResNet -> arguments of the libraries' networks."""
    width, in_channels = backbone['conv1.weight'].shape[:2]
    return dict(
        depth=read_depth(backbone),
        in_channels=in_channels,
        base_channels=width,
        stem_channels=width,
        out_indices=(0, 1, 2, 3),
    )


def _network(target: str) -> type:
    """The ResNet of a library."""
    if target == 'mmdet':
        from mmdet.models import ResNet as Theirs
    elif target == 'mmseg':
        from mmseg.models.backbones import ResNet as Theirs
    else:
        Theirs = ResNet
    return Theirs


def read_depth(backbone: Mapping[str, Tensor]) -> int:
    blocks = tuple(
        sum(f'layer{stage}.{block}.conv1.weight' in backbone for block in range(40))
        for stage in (1, 2, 3, 4)
    )
    depth = DEPTHS.get((blocks, 'layer1.0.conv3.weight' in backbone))
    if depth is None or backbone['conv1.weight'].shape[2] != 7:
        raise CheckpointError(
            f'a ResNet of {blocks} blocks with a stem of {backbone["conv1.weight"].shape[2]} px is '
            'none of the standard ones that the libraries build: load the checkpoint as it is, '
            "because its names are those of mmpretrain's ResNet."
        )
    return depth


def _levels(pyramid: Mapping[str, Tensor]) -> dict:
    """Widths of a pyramid's levels, as its constructor takes them; empty without a pyramid."""
    laterals = [n for n in sorted(pyramid) if n.startswith('lateral_') and 'conv.weight' in n]
    weights = [pyramid[name] for name in laterals]
    if not weights:
        return {}
    return dict(in_channels=[w.shape[1] for w in weights], out_channels=len(weights[0]))


def without_biases(pyramid: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """mmdet's convolutions before a norm have no bias b: (x + b) − mean = x − (mean − b)."""
    kept = dict(pyramid)
    for name in [name for name in pyramid if name.endswith('conv.bias')]:
        mean = f'{name.removesuffix("conv.bias")}bn.running_mean'
        kept[mean] = pyramid[mean] - kept.pop(name)
    return kept


def _snippet(path: Path, target: str, depth: int, levels: Mapping) -> str:
    neck = dict(
        type='mmdet.FPN',
        **levels,
        num_outs=len(levels.get('in_channels', ())) + 1,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
    )
    backbone = dict(type=f'{target}.ResNet', depth=depth)
    return openmmlab_snippet(path, backbone, neck if levels else None)
