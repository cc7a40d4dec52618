"""Swin of the official LocalMIM and SimMIM and of its own releases, of timm and Hugging Face."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from mmmask.layers import sincos_position_embedding

from ..files import CheckpointError
from .rules import (
    FUSED,
    HOG_BIAS,
    HUGGINGFACE_HEADS,
    SAME,
    SCALES,
    Change,
    Fixed,
    Layout,
    Rule,
    affine,
    hog_filters,
    transformer_blocks,
)


def _merging(order: Sequence[int]) -> Change:
    """Patch merging takes 2 × 2 tokens channel by channel here and token by token elsewhere.

    Args:
        order: their tokens, as (row, column) counted in raster order, in the order of ours.
    """
    back = [order.index(place) for place in range(4)]

    def to_ours(parts: Sequence[Tensor]) -> Tensor:
        return parts[0].unflatten(-1, (4, -1))[..., order, :].mT.flatten(-2)

    def to_theirs(tensor: Tensor) -> Sequence[Tensor]:
        return (tensor.unflatten(-1, (-1, 4)).mT[..., back, :].flatten(-2),)

    return Change(to_ours, to_theirs)


# The layers of a block, and what other libraries call them.
_SWIN_BLOCK = {
    'norm1': ('norm1',),
    'attn.w_msa.qkv': ('attn.qkv',),
    'attn.w_msa.proj': ('attn.proj',),
    'norm2': ('norm2',),
    'ffn.layers.0.0': ('mlp.fc1',),
    'ffn.layers.1': ('mlp.fc2',),
}
_HUGGINGFACE_SWIN_BLOCK = {
    'norm1': ('layernorm_before',),
    'attn.w_msa.qkv': tuple(f'attention.self.{part}' for part in ('query', 'key', 'value')),
    'attn.w_msa.proj': ('attention.output.dense',),
    'norm2': ('layernorm_after',),
    'ffn.layers.0.0': ('intermediate.dense',),
    'ffn.layers.1': ('output.dense',),
}


def _relative_position_index(parts: Sequence[Tensor]) -> Tensor:
    """((2w-1)², heads) -> (w², w²): which row of the table is for which pair of places."""
    side = math.isqrt(len(parts[0]))
    if side * side != len(parts[0]):
        raise CheckpointError(
            f'a table of {len(parts[0])} relative positions belongs to windows that are not '
            'square, which mmmask does not have.'
        )
    window = (side + 1) // 2
    rows, columns = torch.arange(window).repeat_interleave(window), torch.arange(window)
    columns = columns.repeat(window)
    offsets = [places[:, None] - places + window - 1 for places in (rows, columns)]
    return offsets[0] * side + offsets[1]


# A constant of mmmask that files of others may lack; the table gives the window. Without it
# encoders are written for others.
INDEX = Change(_relative_position_index, lambda tensor: ())


def _swin_encoder(
    order: Sequence[int],
    embed: tuple[str, str] = ('patch_embed.proj', 'patch_embed.norm'),
    stages: str = 'layers',
    block: Mapping[str, tuple[str, ...]] = _SWIN_BLOCK,
    attention: str = 'attn',
    merging_stage: int = 0,
    has_index: bool = True,
) -> tuple[Rule, ...]:
    """Swin of four stages.

    Args:
        order: of the 2 × 2 tokens in patch merging.
        embed: what they call the patch embedding and its norm.
        stages: what they call the stages.
        block: what they call the layers of a block.
        attention: what they call the part of a block with the relative positions.
        merging_stage: the number of stages by which their patch merging comes after ours.
        has_index: whether every file has the index of relative positions.
    """
    merging = _merging(order)
    rules = [
        *affine('backbone.patch_embed.projection', embed[0]),
        *affine('backbone.patch_embed.norm', embed[1]),
    ]
    for stage in range(4):
        ours, theirs = f'backbone.stages.{stage}', f'{stages}.{stage}.blocks.{{i}}'
        for our_layer, their_layers in block.items():
            change = FUSED if len(their_layers) == 3 else SAME
            their_layers = [f'{theirs}.{layer}' for layer in their_layers]
            rules += affine(
                f'{ours}.blocks.{{i}}.{our_layer}', *their_layers, weight=change, bias=change
            )
        position = f'{ours}.blocks.{{i}}.attn.w_msa.relative_position_'
        table, index = (
            f'{theirs}.{attention}.relative_position_{n}' for n in ('bias_table', 'index')
        )
        rules.append(Rule(f'{position}bias_table', (table,)))
        rules.append(
            Rule(f'{position}index', (index,))
            if has_index
            else Rule(f'{position}index', (table,), 'index of positions', INDEX)
        )
        if stage < 3:
            ours, theirs = f'{ours}.downsample', f'{stages}.{stage + merging_stage}.downsample'
            rules += affine(f'{ours}.norm', f'{theirs}.norm', weight=merging, bias=merging)
            weight = 'reduction.weight'
            rules.append(Rule(f'{ours}.{weight}', (f'{theirs}.{weight}',), change=merging))
    return tuple(rules)


# The patch embedding and the stages of official pre-trainings.
_IN_ENCODER = ('encoder.patch_embed.proj', 'encoder.patch_embed.norm'), 'encoder.layers'
# The official pre-training merges the tokens at (0, 0), (0, 1), (1, 0), (1, 1), its fine-tuning and
# segmentation those at (0, 0), (1, 0), (0, 1), (1, 1), with the pre-trained weights as they are.
# The latter is the order of Swin's own code, of timm and of Hugging Face.
_RASTER, _COLUMNS = [0, 1, 2, 3], [0, 2, 1, 3]


def _swin_position(scale: int) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """The position table of a decoder; the official code knows 224 px only."""
    side = (28, 14, 7, 7)[scale]

    def table(ours: Mapping[str, Tensor]) -> Tensor:
        width = ours[f'neck.decoders.{scale}.mask_token'].shape[-1]
        return sincos_position_embedding((side, side), width)

    return table


def _localmim_swin(description: str, order: Sequence[int]) -> Layout:
    """LocalMIM Swin pre-training, with HOG (and its bias) or pixels as targets."""
    rules = list(_swin_encoder(order, *_IN_ENCODER))
    for scale in SCALES:
        ours, theirs = f'neck.decoders.{scale}', f'decoder.{scale}'
        rules += [
            *affine(f'backbone.norm{scale}', f'encoder.norm.{scale}'),
            Rule(f'{ours}.mask_token', (f'{theirs}.mask_token',)),
            *affine(f'{ours}.embed', f'{theirs}.embed'),
            *transformer_blocks(f'{ours}.layers.{{i}}', f'{theirs}.blocks.{{i}}'),
            *affine(f'{ours}.norm', f'{theirs}.norm'),
            *affine(f'{ours}.project', f'{theirs}.pred'),
        ]
    rules.append(HOG_BIAS)
    positions = [Fixed(f'decoder.{scale}.pos_embed', _swin_position(scale)) for scale in SCALES]
    fixed = (*positions, *hog_filters('target_generator'))
    return Layout(description, tuple(rules), fixed, container='model')


def _swap_pixels(rows: Tensor, shape: tuple[int, int]) -> Tensor:
    """(3·s², …) rows, pixel by pixel in each channel -> channel by channel in each pixel, or back.

    SimMIM's decoder ends in a pixel shuffle, whose input has the channels outermost.
    """
    side = math.isqrt(len(rows) // 3)
    if 3 * side**2 != len(rows):
        raise CheckpointError(
            f"the {len(rows)} values that SimMIM's decoder predicts are not the pixels of squares "
            'of RGB images, which its layouts have: convert the encoder alone.'
        )
    return rows.unflatten(0, shape).transpose(0, 1).flatten(0, 1)


_CHANNELS_FIRST, _CHANNELS_LAST = (3, -1), (-1, 3)
_PIXEL_WEIGHT = Change(
    lambda parts: _swap_pixels(parts[0].flatten(1), _CHANNELS_FIRST),
    lambda tensor: (_swap_pixels(tensor, _CHANNELS_LAST)[:, :, None, None],),
)
_PIXEL_BIAS = Change(
    lambda parts: _swap_pixels(parts[0], _CHANNELS_FIRST),
    lambda tensor: (_swap_pixels(tensor, _CHANNELS_LAST),),
)


def _simmim(description: str, encoder: Sequence[Rule], norm: str, token: str, **options) -> Layout:
    """SimMIM pre-training, by their names of the last norm and of the mask token."""
    rules = (
        *encoder,
        *affine('backbone.norm3', norm),
        Rule('mask_token', (token,)),
        *affine('neck.projection', 'decoder.0', weight=_PIXEL_WEIGHT, bias=_PIXEL_BIAS),
    )
    return Layout(description, rules, **options)


# Constants of Swin, which mmmask computes.
_ATTENTION_MASK = r'.*\.attn_mask$'
_RELATIVE_POSITION_INDEX = r'.*\.relative_position_index$'


def _huggingface(prefix: str = '', **options) -> tuple[Rule, ...]:
    """An encoder of Hugging Face without its last norm."""
    embed = f'{prefix}embeddings.patch_embeddings.projection', f'{prefix}embeddings.norm'
    stages, attention = f'{prefix}encoder.layers', 'attention.self'
    return _swin_encoder(_COLUMNS, embed, stages, _HUGGINGFACE_SWIN_BLOCK, attention, **options)


LAYOUTS = {
    'localmim-swin': _localmim_swin('official LocalMIM Swin pre-training', _RASTER),
    'localmim-swin-swapped': _localmim_swin(
        'official LocalMIM Swin pre-training, with its patch merging as the official fine-tuning '
        'reads it',
        _COLUMNS,
    ),
    'localmim-swin-finetuned': Layout(
        'official LocalMIM Swin fine-tuning, or a classifier of official Swin',
        rules=(
            *_swin_encoder(_COLUMNS),
            *affine('neck.norm', 'norm'),
            *affine('head.fc', 'head'),
        ),
        # constants of the shifted windows, which mmpretrain computes
        left_out=(_ATTENTION_MASK, r'mask_token$'),  # SimMIM has mask tokens in its encoder
        container='model',
    ),
    'simmim-swin': _simmim(
        'official SimMIM Swin pre-training',
        _swin_encoder(_COLUMNS, *_IN_ENCODER),
        norm='encoder.norm',
        token='encoder.mask_token',
        left_out=(_ATTENTION_MASK,),
        container='model',
    ),
    'timm-swin': Layout(
        'timm SwinTransformer, encoder only',
        rules=(
            *_swin_encoder(_COLUMNS, merging_stage=1, has_index=False),
            *affine('backbone.norm3', 'norm', optional='last norm'),
        ),
        left_out=(r'head\.', _ATTENTION_MASK, _RELATIVE_POSITION_INDEX),
    ),
    'huggingface-swin': Layout(
        'Hugging Face SwinModel, encoder only',
        rules=(
            *_huggingface(has_index=False),
            *affine('backbone.norm3', 'layernorm', optional='last norm'),
        ),
        left_out=(*HUGGINGFACE_HEADS, _RELATIVE_POSITION_INDEX),
    ),
    'huggingface-simmim': _simmim(
        'Hugging Face SwinForMaskedImageModeling',
        _huggingface('swin.'),
        norm='swin.layernorm',
        token='swin.embeddings.mask_token',
    ),
}
