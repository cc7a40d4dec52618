"""Parameter groups by depth and by weight decay."""

import re

from mmengine.optim import DefaultOptimWrapperConstructor
from mmpretrain.models.backbones import ResNet
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmmask.registry import OPTIM_WRAPPER_CONSTRUCTORS

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Few parameter groups: one per pair of learning rate and weight decay.

    A parameter's rate is lr · ``layer_decay_rate`` ^ (last depth − its depth), BEiT's and MAE's
    rule, for classifiers, detectors and segmentors; see :func:`layer_depth`. One-dimensional
    tensors (biases, norms) and the names that ``no_decay`` matches have no weight decay.

    ``paramwise_cfg`` takes:

    - ``layer_decay_rate``: 1 (default) treats all layers alike, as in pre-training.
    - ``no_decay``: parts of parameter names that get no weight decay either.
    - ``decay_bias``: whether biases other than those of norms decay, as in ViTDet.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        options = dict(layer_decay_rate=1.0, no_decay=(), decay_bias=False)
        unknown = set(paramwise_cfg or ()) - set(options)
        if unknown:
            raise ValueError(
                f'paramwise_cfg={dict(paramwise_cfg)} has unknown keys {sorted(unknown)}: this '
                f'constructor takes {sorted(options)}.'
            )
        super().__init__(optim_wrapper_cfg, options | dict(paramwise_cfg or {}))

    def learning_rate_scale(self, model: nn.Module, name: str) -> float:
        """Fraction of the base learning rate that a parameter gets."""
        rate = self.paramwise_cfg['layer_decay_rate']
        if rate == 1:
            return 1.0
        depth, num_depths = layer_depth(model, name)
        return rate ** (num_depths - 1 - depth)

    def add_params(self, params: list[dict], model: nn.Module, **kwargs) -> None:
        """Fill ``params`` with the groups of all trainable parameters."""
        in_norms = {
            id(p) for m in model.modules() if isinstance(m, NORMS) for p in m.parameters(False)
        }
        groups: dict[tuple[float, bool], dict] = {}
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            scale = self.learning_rate_scale(model, name)
            is_bias = name.endswith('bias') and id(parameter) not in in_norms
            decays = parameter.ndim > 1 or (self.paramwise_cfg['decay_bias'] and is_bias)
            decays = decays and not any(part in name for part in self.paramwise_cfg['no_decay'])
            group = groups.setdefault(
                (scale, decays),
                dict(
                    params=[],
                    lr=self.base_lr * scale,
                    weight_decay=(self.base_wd or 0.0) if decays else 0.0,
                ),
            )
            group['params'].append(parameter)
        # The log shows the first group, so that is the one with the full rate.
        params.extend(groups[key] for key in sorted(groups, reverse=True))


def layer_depth(model: nn.Module, name: str) -> tuple[int, int]:
    """Depth of a parameter, and the number of depths.

    Depth 0 is the stem, and the last depth is everything after the backbone. Depths are those of
    the backbone's ``get_layer_depth(name, prefix)``, as in mmpretrain. Without this method they
    follow from the names: blocks of transformers are counted through all stages, and layers that
    merge patches belong to the block before them. ResNets are counted as in mmpretrain if it
    supports their number of layers, otherwise by stages.

    Raises:
        ValueError: if the depths do not follow from the names either.
    """
    backbone, prefix = model.backbone, 'backbone.'
    if hasattr(backbone, 'stage_blocks'):
        try:
            return ResNet.get_layer_depth(backbone, name, prefix)  # for all ResNets
        except NotImplementedError:
            return _depth_by_name(backbone, name, prefix)
    if hasattr(backbone, 'get_layer_depth'):
        return backbone.get_layer_depth(name, prefix)
    return _depth_by_name(backbone, name, prefix)


BLOCK = re.compile(r'(layers\.\d+|stages\.\d+\.blocks\.\d+)\.|(layer\d+)\.')
MERGING = re.compile(r'stages\.\d+\.downsample\.')
STEM = re.compile(r'cls_token|mask_token|pos_embed|absolute_pos_embed|patch_embed|conv1|bn1|stem')


def _depth_by_name(backbone: nn.Module, name: str, prefix: str) -> tuple[int, int]:
    depths, blocks = {}, []
    for own, _ in backbone.named_parameters():
        if block := BLOCK.match(own):
            if block[0] not in blocks:
                blocks.append(block[0])
            depths[own] = 1 + blocks.index(block[0])
        elif MERGING.match(own):
            depths[own] = len(blocks)
        elif STEM.match(own):
            depths[own] = 0
    if not blocks:
        raise ValueError(
            f'{type(backbone).__name__} has no get_layer_depth, and the names of its parameters do '
            'not contain their depth: set optim_wrapper.paramwise_cfg.layer_decay_rate=1.'
        )
    last = len(blocks) + 1
    depth = depths.get(name.removeprefix(prefix), last) if name.startswith(prefix) else last
    return depth, last + 1
