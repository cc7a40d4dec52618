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
        optional: empty, or the name of a set of tensors that a file has all of or none of.
        change: what happens to the values.
    """

    ours: str
    theirs: tuple[str, ...]
    optional: str = ''
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
        left_out: what the names without a counterpart, such as a classifier's, begin with, as
            regular expressions.
        container: the key under which the files keep their tensors; empty for the top level.
        prefix: what names begin with in files of a network that has the encoder as a part.
    """

    description: str
    rules: tuple[Rule, ...]
    fixed: tuple[Fixed, ...] = ()
    left_out: tuple[str, ...] = ()
    container: str = ''
    prefix: str = ''

    @property
    def sections(self) -> set[str]:
        return {rule.section for rule in self.rules}


def affine(
    ours: str, *theirs: str, weight: Change = SAME, optional: str = '', bias: Change = SAME
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


# A constant of mmmask that files of others may lack; the table tells the window.
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
        merging_stage: how many stages after ours their patch merging stands.
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
            else Rule(f'{position}index', (table,), change=INDEX)
        )
        if stage < 3:
            ours, theirs = f'{ours}.downsample', f'{stages}.{stage + merging_stage}.downsample'
            rules += affine(f'{ours}.norm', f'{theirs}.norm', weight=merging, bias=merging)
            weight = 'reduction.weight'
            rules.append(Rule(f'{ours}.{weight}', (f'{theirs}.{weight}',), change=merging))
    return tuple(rules)


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
    names = ('encoder.patch_embed.proj', 'encoder.patch_embed.norm'), 'encoder.layers'
    rules = list(_swin_encoder(order, *names))
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
            optional='bias of the targets',
            change=STACKED,
        )
    )
    fixed = [Fixed(f'decoder.{scale}.pos_embed', _swin_position(scale)) for scale in _SCALES]
    fixed += [
        Fixed(f'hog_enc.{scale}.conv.weight', _sobel, 'target_generator') for scale in _SCALES
    ]
    return Layout(description, tuple(rules), tuple(fixed), container='model')


# Constants of Swin, which mmmask computes.
_ATTENTION_MASK = r'.*\.attn_mask$'
_RELATIVE_POSITION_INDEX = r'.*\.relative_position_index$'
# Classifiers, poolers, and what follows the encoder in masked image modelling.
_HUGGINGFACE_HEADS = (r'classifier\.', r'pooler\.', r'decoder\.', r'embeddings\.mask_token$')

# What mmpretrain, torchvision and timm call the parts of a ResNet, convolutions with their norms.
_RESNET = dict(
    stem=('conv1', 'bn1'),
    stages=[f'layer{stage}' for stage in (1, 2, 3, 4)],
    layers=[(f'conv{n}', f'bn{n}') for n in (1, 2, 3)],
    shortcut=('downsample.0', 'downsample.1'),
)


def _resnet(
    stem: tuple[str, str],
    stages: Sequence[str],
    layers: Sequence[tuple[str, str]],
    shortcut: tuple[str, str],
) -> tuple[Rule, ...]:
    """ResNet of four stages, of basic blocks or of bottlenecks, by their names of its parts."""
    rules = [*_normed(_RESNET['stem'], stem)]
    for stage, pair in enumerate(zip(_RESNET['stages'], stages, strict=True)):
        # Bottlenecks have a third layer and a shortcut in the first stage, too.
        first, block = (tuple(f'{name}.{number}.' for name in pair) for number in ('0', '{i}'))
        rules += _normed(_RESNET['shortcut'], shortcut, first, '' if stage else 'bottleneck')
        for number, names in enumerate(zip(_RESNET['layers'], layers, strict=True)):
            rules += _normed(*names, block, 'bottleneck' if number == 2 else '')
    return tuple(rules)


def _normed(
    ours: tuple[str, str],
    theirs: tuple[str, str],
    block: tuple[str, str] = ('', ''),
    optional: str = '',
) -> tuple[Rule, ...]:
    """A convolution and its batch norm in a block of our and of their name.

    Files from before 2018 lack the norm's count of batches, which nothing depends on.
    """
    count = f'{optional} count'.strip()
    tensors = (
        (0, 'weight', optional),
        *((1, name, optional) for name in ('weight', 'bias', 'running_mean', 'running_var')),
        (1, 'num_batches_tracked', count),
    )
    return tuple(
        Rule(
            f'backbone.{block[0]}{ours[layer]}.{name}',
            (f'{block[1]}{theirs[layer]}.{name}',),
            optional,
        )
        for layer, name, optional in tensors
    )


LAYOUTS = {
    'localmim-vit': Layout(
        'official LocalMIM ViT pre-training',
        rules=(
            *_ENCODER,
            *(rule for scale in _SCALES for rule in _localmim_decoder(scale)),
            Rule(
                'target_generator.bias',
                tuple(f'hog_enc.{scale}.conv.bias' for scale in _SCALES),
                optional='bias of the targets',
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
        rules=(*_ENCODER, *affine('backbone.ln1', 'norm', optional='last norm')),
        left_out=(r'head\.', r'fc_norm\.'),
    ),
    'huggingface': Layout(
        'Hugging Face ViTModel, encoder only',
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
            *affine('backbone.ln1', 'layernorm', optional='last norm'),
        ),
        left_out=_HUGGINGFACE_HEADS,
        prefix='vit.',
    ),
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
            *_swin_encoder(
                _COLUMNS,
                ('embeddings.patch_embeddings.projection', 'embeddings.norm'),
                'encoder.layers',
                _HUGGINGFACE_SWIN_BLOCK,
                'attention.self',
                has_index=False,
            ),
            *affine('backbone.norm3', 'layernorm', optional='last norm'),
        ),
        left_out=(*_HUGGINGFACE_HEADS, _RELATIVE_POSITION_INDEX),
        prefix='swin.',
    ),
    'resnet': Layout(
        'torchvision or timm ResNet, encoder only',
        rules=_resnet(**_RESNET),
        left_out=(r'fc\.',),
    ),
    'huggingface-resnet': Layout(
        'Hugging Face ResNetModel, encoder only',
        rules=_resnet(
            stem=('embedder.embedder.convolution', 'embedder.embedder.normalization'),
            stages=[f'encoder.stages.{stage}.layers' for stage in range(4)],
            layers=[(f'layer.{n}.convolution', f'layer.{n}.normalization') for n in range(3)],
            shortcut=('shortcut.convolution', 'shortcut.normalization'),
        ),
        left_out=_HUGGINGFACE_HEADS,
        prefix='resnet.',
    ),
}
