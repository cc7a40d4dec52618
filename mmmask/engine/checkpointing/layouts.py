"""How other projects name the tensors that mmmask has too: one table per layout, read both ways.

A row of a table is a :class:`Rule`. To add a layout, write its rows and enter it in ``LAYOUTS``;
conversion in both directions, the accounting of every key and the error messages follow.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmmask.layers import sincos_position_embedding

from .files import CheckpointError


class Change(NamedTuple):
    """What happens to a tensor besides its name.

    Attributes:
        to_ours: their tensors, usually one -> our tensor.
        to_theirs: our tensor -> their tensors.
    """

    to_ours: Callable[[Sequence[Tensor]], Tensor]
    to_theirs: Callable[[Tensor], Sequence[Tensor]]


SAME = Change(lambda parts: parts[0], lambda tensor: (tensor,))
# Query, key and value as one matrix product or as three.
FUSED = Change(torch.cat, lambda tensor: tensor.chunk(3))
STACKED = Change(torch.stack, torch.unbind)
# A 1×1 convolution is a linear layer.
POINTWISE = Change(
    lambda parts: parts[0].squeeze((2, 3)), lambda tensor: (tensor[:, :, None, None],)
)


class Rule(NamedTuple):
    """One tensor of mmmask and what it is called elsewhere; ``{i}`` stands for a block's number.

    Attributes:
        ours: name in mmmask; its first part (``backbone``, ``neck``) is the section.
        theirs: the name or names elsewhere.
        optional: a file may lack it.
        change: what happens to the values.
    """

    ours: str
    theirs: tuple[str, ...]
    optional: bool = False
    change: Change = SAME

    @property
    def section(self) -> str:
        return self.ours.partition('.')[0]

    def names(self, side: str) -> tuple[str, ...]:
        return (self.ours,) if side == 'ours' else self.theirs

    def numbered(self, index: int) -> 'Rule':
        theirs = tuple(name.replace('{i}', str(index)) for name in self.theirs)
        return self._replace(ours=self.ours.replace('{i}', str(index)), theirs=theirs)


class Fixed(NamedTuple):
    """A constant that their files store and mmmask computes.

    On the way in it is compared with ``value(our tensors)`` and left out, on the way out written.
    """

    theirs: str
    value: Callable[[Mapping[str, Tensor]], Tensor]
    section: str = 'neck'


class Layout(NamedTuple):
    """A family of checkpoint files.

    Attributes:
        description: what it is, for error messages and help.
        rules: its tensors.
        fixed: its constants.
        left_out: beginnings of names without a counterpart, such as a classifier's.
        container: the key under which the files keep their tensors; empty for the top level.
    """

    description: str
    rules: tuple[Rule, ...]
    fixed: tuple[Fixed, ...] = ()
    left_out: tuple[str, ...] = ()
    container: str = ''

    @property
    def sections(self) -> set[str]:
        return {rule.section for rule in self.rules}


def affine(
    ours: str, *theirs: str, weight: Change = SAME, optional: bool = False, bias: Change = SAME
) -> tuple[Rule, Rule]:
    """The weight and the bias of a layer."""
    return tuple(
        Rule(f'{ours}.{name}', tuple(f'{layer}.{name}' for layer in theirs), optional, change)
        for name, change in (('weight', weight), ('bias', bias))
    )


def transformer_blocks(ours: str, theirs: str) -> tuple[Rule, ...]:
    """Pre-norm blocks as timm names them, and the official releases after it."""
    layers = {
        'ln1': 'norm1',
        'attn.qkv': 'attn.qkv',
        'attn.proj': 'attn.proj',
        'ln2': 'norm2',
        'ffn.layers.0.0': 'mlp.fc1',
        'ffn.layers.1': 'mlp.fc2',
    }
    return tuple(
        rule
        for our_layer, their_layer in layers.items()
        for rule in affine(f'{ours}.{our_layer}', f'{theirs}.{their_layer}')
    )


_ENCODER = (
    Rule('backbone.cls_token', ('cls_token',)),
    Rule('backbone.pos_embed', ('pos_embed',)),
    *affine('backbone.patch_embed.projection', 'patch_embed.proj'),
    *transformer_blocks('backbone.layers.{i}', 'blocks.{i}'),
)


def _decoder_position(mask_token: str) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """The fixed position table as wide as a decoder's mask token, for the encoder's patch grid."""

    def table(ours: Mapping[str, Tensor]) -> Tensor:
        num_patches = ours['backbone.pos_embed'].shape[1] - 1
        side = math.isqrt(num_patches)
        if side * side != num_patches:
            raise CheckpointError(
                f'the official layouts know square patch grids only, but backbone.pos_embed has '
                f'{num_patches} patches: export the backbone alone with tools/export.py.'
            )
        return sincos_position_embedding((side, side), ours[mask_token].shape[-1], class_token=True)

    return table


def _sobel(ours: Mapping[str, Tensor]) -> Tensor:
    """(2, 1, 3, 3): the filters whose answers are the horizontal and the vertical gradient."""
    across = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    return torch.stack([across, across.T]).unsqueeze(1)


def _localmim_decoder(scale: int) -> tuple[Rule, ...]:
    ours, theirs = f'neck.decoders.{scale}', f'decoder.{scale}'
    # Position of the layers in the rescaling head, the last of which is the projection.
    *deconvolutions, projection = ((0, 1, 3, 4), (0, 1), (0,), (1,))[scale]
    return (
        *affine(f'{ours}.input_norm', f'norm.{scale}'),
        Rule(f'{ours}.mask_token', (f'{theirs}.mask_token',)),
        *affine(f'{ours}.embed', f'{theirs}.embed'),
        *transformer_blocks(f'{ours}.layers.{{i}}', f'{theirs}.blocks.{{i}}'),
        *affine(f'{ours}.norm', f'{theirs}.norm'),
        *(
            rule
            for layer in deconvolutions
            for rule in affine(f'{ours}.project.{layer}', f'{theirs}.pred.{layer}')
        ),
        *affine(f'{ours}.project.{projection}', f'{theirs}.pred.{projection}', weight=POINTWISE),
    )


_SCALES = range(4)


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


def _swin_encoder(theirs: str, order: Sequence[int]) -> tuple[Rule, ...]:
    """Swin of four stages; ``order`` is that of the 2 × 2 tokens in patch merging."""
    merging = _merging(order)
    rules = [
        *affine('backbone.patch_embed.projection', f'{theirs}patch_embed.proj'),
        *affine('backbone.patch_embed.norm', f'{theirs}patch_embed.norm'),
    ]
    for stage in range(4):
        block = f'backbone.stages.{stage}.blocks.{{i}}', f'{theirs}layers.{stage}.blocks.{{i}}'
        for our_layer, their_layer in {
            'norm1': 'norm1',
            'attn.w_msa.qkv': 'attn.qkv',
            'attn.w_msa.proj': 'attn.proj',
            'norm2': 'norm2',
            'ffn.layers.0.0': 'mlp.fc1',
            'ffn.layers.1': 'mlp.fc2',
        }.items():
            rules += affine(f'{block[0]}.{our_layer}', f'{block[1]}.{their_layer}')
        for name in ('relative_position_bias_table', 'relative_position_index'):
            rules.append(Rule(f'{block[0]}.attn.w_msa.{name}', (f'{block[1]}.attn.{name}',)))
        if stage < 3:
            merge = f'backbone.stages.{stage}.downsample', f'{theirs}layers.{stage}.downsample'
            rules += affine(f'{merge[0]}.norm', f'{merge[1]}.norm', weight=merging, bias=merging)
            weight = 'reduction.weight'
            rules.append(Rule(f'{merge[0]}.{weight}', (f'{merge[1]}.{weight}',), change=merging))
    return tuple(rules)


# The official pre-training merges the tokens at (0, 0), (0, 1), (1, 0), (1, 1), its fine-tuning and
# segmentation those at (0, 0), (1, 0), (0, 1), (1, 1), with the pre-trained weights as they are.
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
    rules = list(_swin_encoder('encoder.', order))
    for scale in _SCALES:
        ours, theirs = f'neck.decoders.{scale}', f'decoder.{scale}'
        rules += [
            *affine(f'backbone.norm{scale}', f'encoder.norm.{scale}'),
            Rule(f'{ours}.mask_token', (f'{theirs}.mask_token',)),
            *affine(f'{ours}.embed', f'{theirs}.embed'),
            *transformer_blocks(f'{ours}.layers.{{i}}', f'{theirs}.blocks.{{i}}'),
            *affine(f'{ours}.norm', f'{theirs}.norm'),
            *affine(f'{ours}.project', f'{theirs}.pred'),
        ]
    rules.append(
        Rule(
            'target_generator.bias',
            tuple(f'hog_enc.{scale}.conv.bias' for scale in _SCALES),
            optional=True,
            change=STACKED,
        )
    )
    fixed = [Fixed(f'decoder.{scale}.pos_embed', _swin_position(scale)) for scale in _SCALES]
    fixed += [
        Fixed(f'hog_enc.{scale}.conv.weight', _sobel, 'target_generator') for scale in _SCALES
    ]
    return Layout(description, tuple(rules), tuple(fixed), container='model')


LAYOUTS = {
    'localmim-vit': Layout(
        'official LocalMIM ViT pre-training',
        rules=(
            *_ENCODER,
            *(rule for scale in _SCALES for rule in _localmim_decoder(scale)),
            Rule(
                'target_generator.bias',
                tuple(f'hog_enc.{scale}.conv.bias' for scale in _SCALES),
                optional=True,
                change=STACKED,
            ),
        ),
        fixed=(
            *(
                Fixed(
                    f'decoder.{scale}.pos_embed',
                    _decoder_position(f'neck.decoders.{scale}.mask_token'),
                )
                for scale in _SCALES
            ),
            *(Fixed(f'hog_enc.{scale}.conv.weight', _sobel) for scale in _SCALES),
        ),
        container='model',
    ),
    'mae': Layout(
        'facebookresearch MAE, pre-training or encoder only',
        rules=(
            *_ENCODER,
            *affine('backbone.ln1', 'norm'),
            *affine('neck.embed', 'decoder_embed'),
            Rule('neck.mask_token', ('mask_token',)),
            *transformer_blocks('neck.layers.{i}', 'decoder_blocks.{i}'),
            *affine('neck.norm', 'decoder_norm'),
            *affine('neck.project', 'decoder_pred'),
        ),
        fixed=(Fixed('decoder_pos_embed', _decoder_position('neck.mask_token')),),
        container='model',
    ),
    'timm': Layout(
        'timm VisionTransformer, encoder only',
        rules=(*_ENCODER, *affine('backbone.ln1', 'norm', optional=True)),
        left_out=('head.', 'fc_norm.'),
    ),
    'huggingface': Layout(
        'Hugging Face ViTModel as its files name it, encoder only',
        rules=(
            Rule('backbone.cls_token', ('embeddings.cls_token',)),
            Rule('backbone.pos_embed', ('embeddings.position_embeddings',)),
            *affine('backbone.patch_embed.projection', 'embeddings.patch_embeddings.projection'),
            *(
                rule
                for ours, theirs in {
                    'ln1': 'layernorm_before',
                    'attn.proj': 'attention.output.dense',
                    'ln2': 'layernorm_after',
                    'ffn.layers.0.0': 'intermediate.dense',
                    'ffn.layers.1': 'output.dense',
                }.items()
                for rule in affine(f'backbone.layers.{{i}}.{ours}', f'encoder.layer.{{i}}.{theirs}')
            ),
            *affine(
                'backbone.layers.{i}.attn.qkv',
                *(
                    f'encoder.layer.{{i}}.attention.attention.{part}'
                    for part in ('query', 'key', 'value')
                ),
                weight=FUSED,
                bias=FUSED,
            ),
            *affine('backbone.ln1', 'layernorm', optional=True),
        ),
        left_out=('pooler.',),
    ),
    'localmim-swin': _localmim_swin('official LocalMIM Swin pre-training', _RASTER),
    'localmim-swin-swapped': _localmim_swin(
        'official LocalMIM Swin pre-training, with its patch merging as the official fine-tuning '
        'reads it',
        _COLUMNS,
    ),
    'localmim-swin-finetuned': Layout(
        'official LocalMIM Swin fine-tuning',
        rules=(
            *_swin_encoder('', _COLUMNS),
            *affine('neck.norm', 'norm'),
            *affine('head.fc', 'head'),
        ),
        # constants of the shifted windows, which mmpretrain computes
        left_out=tuple(
            f'layers.{stage}.blocks.{block}.attn_mask'
            for stage in range(4)
            for block in range(1, 24, 2)
        ),
        container='model',
    ),
}
