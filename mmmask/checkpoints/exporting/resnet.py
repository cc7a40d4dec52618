"""ResNets, and the feature pyramids trained with them, for OpenMMLab's libraries."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmpretrain.models.backbones import ResNet
from torch import Tensor, nn

from mmmask.models.necks import FeaturePyramid

from ..files import CheckpointError, find_tensors, open_checkpoint
from ..verified import relative_difference, write_verified

TARGETS = ('mmpretrain', 'mmdet', 'mmseg')
BACKBONE, PYRAMID, NECK = 'backbone.', 'fpn.', 'neck.'
NORM = dict(type='BN')  # whose tensors are those of SyncBN
# Blocks of each stage, and whether they are bottlenecks -> depth.
DEPTHS = {
    ((2, 2, 2, 2), False): 18,
    ((3, 4, 6, 3), False): 34,
    ((3, 4, 6, 3), True): 50,
    ((3, 4, 23, 3), True): 101,
    ((3, 8, 36, 3), True): 152,
}


def is_resnet(tensors: dict[str, Tensor]) -> bool:
    """Whether the backbone of a checkpoint is a ResNet."""
    return {f'{BACKBONE}conv1.weight', f'{BACKBONE}layer4.0.conv1.weight'} <= tensors.keys()


def export_resnet(tensors: dict[str, Tensor], dst: Path, target: str) -> tuple[float, str]:
    """Write backbone, and for mmdet the pyramid as ``neck``, checked by running them there.

    mmdet's pyramid has no bias before a norm: the norm's mean takes it over, which changes nothing.

    Args:
        tensors: of the checkpoint, by name.
        dst: file to write, ``.pth``.
        target: one of ``TARGETS``.

    Returns:
        The largest difference of the features relative to the largest feature, and a config that
        loads the file.

    Raises:
        CheckpointError: for another target or architecture, or if the features differ.
    """
    if target not in TARGETS:
        raise CheckpointError(
            f"the backbone is a ResNet, which target='{target}' is not written for: use one of "
            f'{", ".join(TARGETS)}, whose names timm and torchvision share but for a few.'
        )
    backbone = _part(tensors, BACKBONE)
    pyramid = _part(tensors, PYRAMID) if target == 'mmdet' else {}
    depth, width = _depth(backbone), len(backbone['conv1.weight'])
    arguments = dict(
        depth=depth, base_channels=width, stem_channels=width, out_indices=(0, 1, 2, 3)
    )
    network = nn.ModuleList([ResNet(**arguments)])
    network[0].load_state_dict(backbone)
    exported = {f'{BACKBONE}{name}': tensor for name, tensor in backbone.items()}
    options = {}
    if pyramid:
        laterals = [
            pyramid[f'lateral_convs.{level}.conv.weight']
            for level in range(sum(name.endswith('conv.weight') for name in pyramid) // 2)
        ]
        options = dict(in_channels=[w.shape[1] for w in laterals], out_channels=len(laterals[0]))
        network.append(FeaturePyramid(**options, norm_cfg=NORM))
        network[1].load_state_dict(pyramid)
        exported |= {f'{NECK}{name}': tensor for name, tensor in without_biases(pyramid).items()}

    difference = write_verified(
        dict(state_dict=exported, meta={}),
        dst,
        target,
        lambda draft: _difference(network, draft, target, arguments, options),
    )
    return difference, _snippet(dst, target, depth, options)


def without_biases(pyramid: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convolutions lose their bias b to the norm behind: (x + b) − mean = x − (mean − b)."""
    kept = dict(pyramid)
    for name in [name for name in pyramid if name.endswith('conv.bias')]:
        mean = f'{name.removesuffix("conv.bias")}bn.running_mean'
        kept[mean] = pyramid[mean] - kept.pop(name)
    return kept


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _depth(backbone: dict[str, Tensor]) -> int:
    blocks = tuple(
        sum(f'layer{stage}.{block}.conv1.weight' in backbone for block in range(40))
        for stage in (1, 2, 3, 4)
    )
    depth = DEPTHS.get((blocks, 'layer1.0.conv3.weight' in backbone))
    if depth is None or backbone['conv1.weight'].shape[2] != 7:
        raise CheckpointError(
            f'a ResNet of {blocks} blocks with a stem of {backbone["conv1.weight"].shape[2]} px is '
            'none of the standard ones that the libraries build: load it as it is, its names are '
            "those of mmpretrain's ResNet."
        )
    return depth


@torch.no_grad()
def _difference(
    network: nn.ModuleList, path: Path, target: str, arguments: dict, options: dict
) -> float:
    """Largest difference of the file's features from the network's, relative to the largest."""
    if target == 'mmdet':
        from mmdet.models import FPN
        from mmdet.models import ResNet as Theirs
    elif target == 'mmseg':
        from mmseg.models.backbones import ResNet as Theirs
    else:
        Theirs = ResNet
    tensors = find_tensors(open_checkpoint(path))
    with torch.random.fork_rng(devices=[]):
        images = torch.randn(2, 3, 64, 96)
        theirs = nn.ModuleList([Theirs(**arguments)])
        if options:
            theirs.append(FPN(**options, num_outs=len(options['in_channels']), norm_cfg=NORM))
    for module, prefix in zip(theirs, (BACKBONE, NECK), strict=False):
        module.load_state_dict(_part(tensors, prefix), strict=True)
    return relative_difference(_run(theirs, images), _run(network, images))


def _run(network: nn.ModuleList, images: Tensor) -> list[Tensor]:
    """Maps of the backbone, and of the pyramid if there is one."""
    network.eval()
    maps = network[0](images)
    return [*maps, *(network[1](maps) if len(network) > 1 else ())]


def _snippet(path: Path, target: str, depth: int, options: dict) -> str:
    checkpoint = dict(type='Pretrained', checkpoint=str(path), prefix=BACKBONE)
    config = dict(backbone=dict(type=f'{target}.ResNet', depth=depth, init_cfg=checkpoint))
    if options:
        config['neck'] = dict(
            type='mmdet.FPN',
            **options,
            num_outs=len(options['in_channels']) + 1,
            norm_cfg=dict(type='SyncBN', requires_grad=True),
            init_cfg=checkpoint | dict(prefix=NECK),
        )
    return Config(config).pretty_text
