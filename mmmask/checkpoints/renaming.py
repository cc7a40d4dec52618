"""Renaming the tensors of a checkpoint by a table, with an account of every name."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

from .files import CheckpointError
from .layouts import KINDS, LAYOUTS, WHOLE_MODELS, Fixed, Rule


class Renaming(NamedTuple):
    """Renamed tensors, and where every one of the given names went.

    Attributes:
        tensors: the tensors under their new names.
        matched: (old names, new names) of each tensor.
        left_out: names with no place in the new layout, which were not carried over.
    """

    tensors: dict[str, Tensor]
    matched: list[tuple[tuple[str, ...], tuple[str, ...]]]
    left_out: list[str]

    def __str__(self) -> str:
        """A table with one line for all blocks of a kind."""
        rows = Counter(tuple(_family(names) for names in pair) for pair in self.matched)
        width = max((len(old) for old, _ in rows), default=0)
        lines = [f'{count:4} x  {old:{width}}  ->  {new}' for (old, new), count in rows.items()]
        parts = Counter(name.partition('.')[0] for name in self.left_out)
        unused = ', '.join(f'{name} ({count})' for name, count in parts.items()) or 'nothing'
        return '\n'.join([*lines, f'{len(self.matched)} tensors matched; left out: {unused}'])


def rename(
    tensors: Mapping[str, Tensor],
    layout: str,
    side: str,
    sections: Collection[str] | None = None,
) -> Renaming:
    """Tensors named as in ``layout`` -> mmmask's names (``side='theirs'``), or back (``'ours'``).

    A section that the layout does not have, such as a momentum encoder, is left out and reported.
    In the sections that it has, every name must be known and none may be missing. The encoder is
    required.

    Args:
        tensors: by name.
        layout: one of ``LAYOUTS``.
        side: whose names they are.
        sections: those to rename, all by default; others are left out.

    Raises:
        CheckpointError: listing the unknown and the missing names, or naming a constant that is
            not the one that mmmask computes.
    """
    account = account_for(tensors, layout, side)
    if account.strange:
        raise CheckpointError(_complaint(tensors, layout, side, account))

    left_out = list(account.left_out)
    other = 'theirs' if side == 'ours' else 'ours'
    renamed, matched = {}, []
    for rule in account.rules:
        old, new = rule.names(side), rule.names(other)
        if sections and rule.section not in sections:
            left_out += old
            continue
        values = [tensors[name] for name in old]
        if side == 'theirs':
            renamed[rule.ours] = rule.change.to_ours(values)
        else:
            renamed.update(zip(new, rule.change.to_theirs(values[0]), strict=True))
        matched.append((old, new))
    for constant in account.fixed if not sections else ():
        value = constant.value(renamed if side == 'theirs' else tensors)
        if side == 'theirs':
            _compare(constant.theirs, tensors[constant.theirs], value)
            left_out.append(constant.theirs)
        else:
            renamed[constant.theirs] = value
    return Renaming(renamed, matched, left_out)


class Account(NamedTuple):
    """Which rules and constants apply to some names, and the names to which none applies."""

    rules: list[Rule]
    fixed: list[Fixed]
    left_out: list[str]
    unknown: list[str]
    missing: list[str]

    @property
    def strange(self) -> list[str]:
        """The names that keep a layout from fitting."""
        return [*self.unknown, *self.missing]


def account_for(names: Iterable[str], layout: str, side: str) -> Account:
    """How names relate to a layout; ``side`` as for :func:`rename`."""
    table = LAYOUTS[layout]

    def has_no_place(name: str) -> bool:
        if side == 'theirs':
            return any(re.match(pattern, name) for pattern in table.left_out)
        return name.partition('.')[0] not in table.sections

    left_out = [name for name in names if has_no_place(name)]
    names = set(names).difference(left_out)
    rules = list(_expand(table.rules, names, side))
    used = [rule for rule in rules if not names.isdisjoint(rule.names(side))]
    sections = {rule.section for rule in used} | {'backbone'}
    fixed = [constant for constant in table.fixed if constant.section in sections]
    expected = {constant.theirs for constant in fixed if side == 'theirs'}
    sets = {rule.optional for rule in used} | {''}
    for rule in rules:
        if rule.section in sections and rule.optional in sets:
            expected.update(rule.names(side))
    return Account(used, fixed, left_out, sorted(names - expected), sorted(expected - names))


def _expand(rules: Iterable[Rule], names: Iterable[str], side: str) -> Iterable[Rule]:
    """Rules with ``{i}`` replaced by each number up to the highest one among the names."""
    depths = {}
    for rule in rules:
        stem, numbered, _ = rule.names(side)[0].partition('{i}')
        if not numbered:
            yield rule
            continue
        if stem not in depths:
            number = re.compile(re.escape(stem) + r'(\d{1,3})\.')
            depths[stem] = 1 + max(
                (int(match[1]) for name in names if (match := number.match(name))), default=0
            )
        yield from (rule.numbered(index) for index in range(depths[stem]))


def _family(names: tuple[str, ...]) -> str:
    """``('stages.3.blocks.1.ln1.bias',)`` -> ``stages.*.blocks.*.ln1.{weight,bias}``."""
    blocks = (re.sub(r'((?<=\.)|(?<=layer))\d+(?=\.)', '*', name) for name in names)
    return ' + '.join(re.sub(r'\.(weight|bias)$', '.{weight,bias}', name) for name in blocks)


def _compare(name: str, stored: Tensor, computed: Tensor) -> None:
    if stored.shape != computed.shape:
        difference = f'it is {tuple(stored.shape)}, not {tuple(computed.shape)}'
    else:
        maximum = (stored.float() - computed).abs().max().item()
        if maximum <= 1e-6:
            return
        difference = f'the largest difference is {maximum:.3g}'
    raise CheckpointError(
        f'{name} is not the constant that mmmask computes ({difference}), so the converted decoder '
        'would give other results: drop the decoder from the file and convert the encoder alone.'
    )


def fitting_layouts(names: Iterable[str], side: str = 'theirs') -> list[str]:
    """The layouts that know every one of these names and miss none."""
    layouts = LAYOUTS if side == 'theirs' else WHOLE_MODELS
    return [layout for layout in layouts if not account_for(names, layout, side).strange]


def kind_of(names: Iterable[str]) -> str | None:
    """Which encoder has these names in mmmask and mmpretrain, with or without ``backbone.``."""
    own = [name for name in names if name.startswith('backbone.')]
    own = own or [f'backbone.{name}' for name in names]
    for kind, layouts in KINDS.items():
        if any(not account_for(own, layout, 'ours').strange for layout in layouts):
            return kind
    return None


def _complaint(names: Iterable[str], layout: str, side: str, account: Account) -> str:
    fitting = fitting_layouts(names, side)
    if side == 'theirs' and (kind := kind_of(names)):
        hint = f"The names are mmmask's own names of a {kind}, which need no conversion."
    elif fitting:
        hint = f'The names fit {" and ".join(fitting)}: choose that instead.'
    else:
        hint = f'None of the layouts {", ".join(LAYOUTS)} fits these names.'
    file = 'file' if side == 'theirs' else 'mmmask checkpoint'
    return (
        f'the {file} does not fit {layout} ({LAYOUTS[layout].description}).'
        f'{_listing("unknown", account.unknown)}{_listing("missing", account.missing)}\n{hint}'
    )


def _listing(what: str, names: list[str], limit: int = 20) -> str:
    if not names:
        return ''
    more = f', ... and {len(names) - limit} more' if len(names) > limit else ''
    return f'\n{len(names)} {what}: {", ".join(names[:limit])}{more}'
