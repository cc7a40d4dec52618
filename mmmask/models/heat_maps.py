"""Heat maps of where a network responds in an image, from which boxes are found."""

from collections import deque
from itertools import chain

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones import SwinTransformer, VisionTransformer
from torch import Tensor, nn

from .vit import attention_probabilities, embed, walk

HEAT_MAPS = ('cls_attn', 'feat_norm', 'feat_sum')


@torch.no_grad()
def heat_map(
    backbone: nn.Module, images: Tensor, kind: str = 'cls_attn', smooth: bool = False
) -> Tensor:
    """(B, C, H, W) -> (B, h, w) fp32 on the grid of the backbone's last features, without a mask.

    Args:
        backbone: a vision transformer or Swin of mmpretrain or mmmask, or any network whose last
            output is a (B, D, h, w) map, such as the ResNets of mmpretrain.
        kind: ``'cls_attn'``: attention of the class token to the patches in the last block, mean
            over heads (vision transformers only). ``'feat_norm'``: L2 norm of the features.
            ``'feat_sum'``: sum of the features over channels. ContrastiveCrop was published with it
            for ResNets, whose features are not negative. Features of transformers are taken before
            the final LayerNorm, after which sum and norm are nearly constant.
        smooth: average over 3×3 positions.

    Raises:
        ValueError: for another kind, or attention of a network without a class token.
        TypeError: if the network returns no map.
    """
    if kind not in HEAT_MAPS:
        raise ValueError(f'heat_map={kind!r} is not one of {HEAT_MAPS}.')
    if kind == 'cls_attn':
        maps = class_attention(backbone, images).mean(dim=1)
    else:
        features = last_features(backbone, images).float()
        maps = features.sum(dim=1) if kind == 'feat_sum' else features.norm(dim=1)
    if smooth:
        maps = F.avg_pool2d(maps[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    return maps


def class_attention(backbone: nn.Module, images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, heads, h, w) fp32: how much the class token attends to each patch.

    This is the attention of the last block.

    Raises:
        ValueError: if the backbone is not a vision transformer with a class token.
    """
    if getattr(backbone, 'cls_token', None) is None or not isinstance(backbone, VisionTransformer):
        raise ValueError(
            f"heat_map='cls_attn' needs a vision transformer with a class token, which "
            f"{type(backbone).__name__} is not: choose 'feat_norm', or 'feat_sum' for a ResNet."
        )
    block, num_extra = backbone.layers[-1], backbone.num_extra_tokens
    tokens, grid = _last_tokens(backbone, images)
    probabilities, _ = attention_probabilities(block.attn, block.ln1(tokens[0]))
    return probabilities[:, :, 0, num_extra:].unflatten(2, grid)


def last_features(backbone: nn.Module, images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, D, h, w), of transformers before the final norm."""
    if isinstance(backbone, VisionTransformer):
        tokens, grid = _last_tokens(backbone, images)
        return tokens[1][:, backbone.num_extra_tokens :].mT.unflatten(2, grid)
    if isinstance(backbone, SwinTransformer):
        outputs = []
        handle = backbone.stages[-1].register_forward_hook(lambda *args: outputs.append(args[2]))
        try:
            backbone(images)
        finally:
            handle.remove()
        tokens, grid = outputs[0]
        return tokens.mT.unflatten(2, grid)
    outputs = backbone(images)
    features = outputs if isinstance(outputs, Tensor) else outputs[-1]
    if features.ndim != 4:
        raise TypeError(
            f'{type(backbone).__name__} returns features of shape {tuple(features.shape)} instead '
            'of maps (B, D, h, w): let it return its last feature map.'
        )
    return features


def _last_tokens(backbone: VisionTransformer, images: Tensor):
    """(B, C, H, W) -> (B, [1+]N, D) before and after the last block, and the (h, w) grid."""
    tokens, grid = embed(backbone, images)
    return deque(chain([tokens], walk(backbone, tokens)), maxlen=2), grid
