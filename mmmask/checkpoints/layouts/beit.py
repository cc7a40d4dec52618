"""BEiT, and data2vec after it: ViTs with relative positions, LayerScale, and no bias of keys.

Our names are those of ``BEiTViT`` of mmpretrain, the network that these weights are for.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..files import CheckpointError
from . import vit
from .rules import Change, Layout, Rule, affine


def _relative_position_index(parts: Sequence[Tensor]) -> Tensor:
    """((2s-1)² + 3, heads) -> (1+s², 1+s²): which row of the table is for which pair of tokens.

    The last three rows are for pairs with the class token.
    """
    num_offsets = len(parts[0]) - 3
    side = math.isqrt(num_offsets)
    if side * side != num_offsets:
        raise CheckpointError(
            f'a table of {len(parts[0])} relative positions belongs to images that are not square, '
            'which cannot be converted: use weights of square images.'
        )
    size = (side + 1) // 2
    places = torch.cartesian_prod(torch.arange(size), torch.arange(size))
    offsets = places[:, None] - places + size - 1
    index = torch.empty(1 + size**2, 1 + size**2, dtype=torch.long)
    index[1:, 1:] = offsets[..., 0] * side + offsets[..., 1]
    index[0], index[:, 0], index[0, 0] = num_offsets, num_offsets + 1, num_offsets + 2
    return index


# A constant of mmpretrain that files of others may lack.
INDEX = Change(_relative_position_index, lambda tensor: ())


def _beit(
    plain: Iterable[Rule],
    biases: tuple[str, str],
    scales: tuple[str, str],
    tables: tuple[str, str],
    norms: tuple[str, str],
) -> tuple[Rule, ...]:
    """BEiT after a plain ViT.

    Args:
        plain: the encoder without its final norms.
        biases: what they call those of queries and of values.
        scales: what they call those of both branches of a block.
        tables: what they call relative positions of each block and of all blocks.
        norms: what they call the norm of all tokens and that of their mean.
    """
    block = 'backbone.layers.{i}'
    optional = {'backbone.pos_embed': 'absolute positions'}
    rules = [
        rule._replace(optional=optional.get(rule.ours, ''))
        for rule in plain
        if not rule.ours.endswith('qkv.bias')
    ]
    rules += [
        Rule(f'{block}.attn.{name}_bias', (theirs,))
        for name, theirs in zip('qv', biases, strict=True)
    ]
    rules += [
        Rule(f'{block}.gamma_{number}', (theirs,), 'LayerScale')
        for number, theirs in enumerate(scales, 1)
    ]
    owners = f'{block}.attn', 'backbone.rel_pos_bias'
    kinds = 'relative positions of each block', 'relative positions of all blocks'
    for owner, theirs, kind in zip(owners, tables, kinds, strict=True):
        rules.append(Rule(f'{owner}.relative_position_bias_table', (theirs,), kind))
        rules.append(Rule(f'{owner}.relative_position_index', (theirs,), kind, INDEX))
    for number, theirs, kind in zip('12', norms, ('last norm', 'norm of the mean'), strict=True):
        rules += affine(f'backbone.ln{number}', theirs, optional=kind)
    return tuple(rules)


_TABLE = 'relative_position_bias_table'
_ATTENTION = 'encoder.layer.{i}.attention.attention'

LAYOUTS = {
    'beit': Layout(
        'timm Beit or the official BEiT, data2vec and SimMIM, encoder only, for mmpretrain.BEiTViT',
        rules=_beit(
            vit.ENCODER,
            biases=('blocks.{i}.attn.q_bias', 'blocks.{i}.attn.v_bias'),
            scales=('blocks.{i}.gamma_1', 'blocks.{i}.gamma_2'),
            tables=(f'blocks.{{i}}.attn.{_TABLE}', f'rel_pos_bias.{_TABLE}'),
            norms=('norm', 'fc_norm'),
        ),
        left_out=(r'(lm_)?head\.', r'mask_token$', r'.*relative_position_index$'),
    ),
    'huggingface-beit': Layout(
        'Hugging Face Data2VecVisionModel or BeitModel, encoder only, for mmpretrain.BEiTViT',
        rules=_beit(
            vit.HUGGINGFACE_ENCODER,
            biases=(f'{_ATTENTION}.query.bias', f'{_ATTENTION}.value.bias'),
            scales=('encoder.layer.{i}.lambda_1', 'encoder.layer.{i}.lambda_2'),
            tables=(
                f'{_ATTENTION}.relative_position_bias.{_TABLE}',
                f'encoder.relative_position_bias.{_TABLE}',
            ),
            norms=('layernorm', 'pooler.layernorm'),
        ),
        left_out=(r'classifier\.', r'lm_head\.', r'embeddings\.mask_token$'),
    ),
}
