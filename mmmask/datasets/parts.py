"""Dividing images into those to train on and those to validate with, by their names alone."""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable

SHARE = 0.2  # of the images is held out


def check_part(part: str | None) -> str | None:
    """The part, if it is one.

    Raises:
        ValueError: if it is not ``None``, ``'train'`` or ``'val'``.
    """
    if part not in (None, 'train', 'val'):
        raise ValueError(f"part={part!r} is not 'train' or 'val'.")
    return part


def held_out(names: Iterable[str]) -> set[str]:
    """The fifth of the names to validate with, at least one of two or more.

    The choice depends on nothing but the names, so it is the same in every run and process.
    """
    ordered = sorted(names, key=lambda name: hashlib.sha1(name.encode('utf-8', 'replace')).digest())
    count = max(1, round(SHARE * len(ordered))) if len(ordered) > 1 else 0
    return set(ordered[:count])


def held_out_of_groups(pairs: Iterable[tuple[Hashable, str]]) -> set[str]:
    """The same for pairs of a group, such as a class, and a name, in each group by itself."""
    groups = defaultdict(list)
    for group, name in pairs:
        groups[group].append(name)
    return set().union(*map(held_out, groups.values()))
