"""Finding the encoder in a file, whatever wraps it and however its tensors are named."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

from mmmask.doctor import tool

from .layouts import LAYOUTS
from .renaming import Account, Renaming, account_for, kind_of, rename

# What encoders are called in pre-training methods and libraries. A teacher comes before its
# student, because it is what the papers evaluate.
WRAPPERS = (
    *('backbone.', 'encoder.', 'model.', 'teacher.', 'student.'),
    *('base_encoder.', 'encoder_q.'),  # MoCo v3 and v2
    *('vit.', 'swin.', 'resnet.', 'dinov2.', 'ijepa.', 'beit.', 'data2vec_vision.'),  # Hugging Face
)
# What the names of tensors that no layout has say about a network.
FEATURES = {
    r'(^|[._])(reg_token|register_tokens?)$': 'register tokens',
    r'\.[qk]_norm\.': 'normalised queries and keys',
    r'\.(gamma_[12]|ls[12]\.gamma)$': 'LayerScale',
    r'\.[qv]_bias$': 'separate biases of queries and values',
    r'rel_pos|relative_position_bias': 'relative positions in attention',
    r'\.mlp\.(w\d+|fc1_[gx])\.': 'a gated MLP',
    r'^norm_pre\.': 'a norm before the first layer',
}


class Match(NamedTuple):
    """A part of a file and the layout that is nearest to its names.

    Attributes:
        prefix: what the names of the part began with.
        tensors: of the part, by name without the prefix.
        layout: one of ``LAYOUTS``.
        account: which names the layout knows.
    """

    prefix: str
    tensors: Mapping[str, Tensor]
    layout: str
    account: Account

    @property
    def fits(self) -> bool:
        """Whether every name is known and none is missing."""
        return not self.account.strange

    def __str__(self) -> str:
        where = f" with names that begin with '{self.prefix}'" if self.prefix else ''
        return f'{self.layout} ({LAYOUTS[self.layout].description}){where}'

    def rename(self, tensors: Mapping[str, Tensor]) -> Renaming:
        """The part of the file's tensors by mmmask's names, with an account of all the others.

        Raises:
            CheckpointError: see :func:`rename`.
        """
        renaming = rename(self.tensors, self.layout, 'theirs')
        matched = [
            (tuple(self.prefix + name for name in old), new) for old, new in renaming.matched
        ]
        left_out = [self.prefix + name for name in renaming.left_out]
        outside = [name for name in tensors if not name.startswith(self.prefix)]
        return renaming._replace(matched=matched, left_out=[*left_out, *outside])

    def explain(self) -> str:
        """What keeps the layout from fitting; empty if it is far from the file."""
        unknown, missing = self.account.unknown, self.account.missing
        if len(self.account.strange) > len(self.account.rules):
            return ''
        found, others = {}, []
        for name in unknown:
            known = [text for pattern, text in FEATURES.items() if re.search(pattern, name)]
            found.update((text, name) for text in known)
            others += [] if known else [name]
        reasons = [f'has {text} ({name})' for text, name in found.items()]
        reasons += [f'has {len(others)} unknown tensors such as {others[0]}'] if others else []
        reasons += [f'lacks {len(missing)} tensors such as {missing[0]}'] if missing else []
        advice = ' mmmask has no such network: use weights without them.' if found else ''
        return f'It is nearest to {self}, but {" and ".join(reasons)}.{advice}'


def parts(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """All of the tensors, then those in each wrapper, with the prefix that their names lose."""
    yield '', tensors
    for wrapper in WRAPPERS:
        inner = {n.removeprefix(wrapper): t for n, t in tensors.items() if n.startswith(wrapper)}
        if inner:
            yield from ((wrapper + prefix, part) for prefix, part in parts(inner))


def recognize(tensors: Mapping[str, Tensor], layouts: Iterable[str] = tuple(LAYOUTS)) -> Match:
    """The part of a file and the layout with the fewest unknown and missing names.

    Where several fit, it is the one that uses most of the file, then the one of fewest rules, hence
    timm's rather than MAE's for an encoder alone, and the first of those.
    """
    matches = (
        Match(prefix, part, layout, account_for(part, layout, 'theirs'))
        for prefix, part in parts(tensors)
        for layout in layouts
    )

    def rank(match: Match) -> tuple[int, int, int]:
        account = match.account
        return len(account.strange), -len(account.rules), len(LAYOUTS[match.layout].rules)

    return min(matches, key=rank)


def describe_names(tensors: Mapping[str, Tensor]) -> str:
    """What a file is by its names, as the rest of a sentence that begins with 'the file'."""
    if kind := kind_of(tensors):
        return f"has mmmask's own names of a {kind}, which need no conversion."
    match = recognize(tensors)
    if match.fits:
        return f'is {match}.'
    explanation = match.explain()
    if explanation:
        return f'fits none of the layouts of {tool("convert.py")}. {explanation}'
    return f'fits none of the layouts {", ".join(LAYOUTS)}, and is near none of them.'
