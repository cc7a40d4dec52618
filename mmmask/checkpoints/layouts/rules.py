"""Rows and tables of names: a :class:`Rule` is one tensor, a :class:`Layout` a family of files."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


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
    """A tensor of mmmask and its name in another project; ``{i}`` is the number of a block.

    Attributes:
        ours: name in mmmask; its first part (``backbone``, ``neck``) is the section.
        theirs: its name or names in the other project.
        optional: empty, or the name of a set of tensors; a file has all of a set or none of it.
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

    Reading compares it with ``value(our tensors)`` and leaves it out; writing adds it.
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


def _sobel(ours: Mapping[str, Tensor]) -> Tensor:
    """(2, 1, 3, 3): the filters whose answers are the horizontal and the vertical gradient."""
    across = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    return torch.stack([across, across.T]).unsqueeze(1)


# What the official LocalMIM keeps of its targets, of either encoder.
SCALES = range(4)
HOG_BIAS = Rule(
    'target_generator.bias',
    tuple(f'hog_enc.{scale}.conv.bias' for scale in SCALES),
    optional='bias of the targets',
    change=STACKED,
)


def hog_filters(section: str) -> tuple[Fixed, ...]:
    """The filters, which are expected where tensors of the section are."""
    return tuple(Fixed(f'hog_enc.{scale}.conv.weight', _sobel, section) for scale in SCALES)


# Classifiers, poolers, and what follows the encoder in masked image modelling.
HUGGINGFACE_HEADS = (r'classifier\.', r'pooler\.', r'decoder\.', r'embeddings\.mask_token$')
