"""What a campaign compares, read from one YAML file."""

import os
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Data:
    """Labelled images, and how they are divided.

    Attributes:
        source: folder or archive of images in one folder for each class.
        train: sub-folder of the images to train on.
        test: sub-folder of the test images; without one, a fifth of the others is held out.
        group: regular expression whose first group is what images must share to go to one part
            together, such as the track of a video.
        size: side of the square images of the network, in pixels.
        crop: least fraction of the area of an image that a random crop keeps.
        flip: whether an image may be mirrored.
    """

    source: str
    train: str = ''
    test: str | None = None
    group: str | None = None
    size: int = 64
    crop: float = 0.2
    flip: bool = True


@dataclass(frozen=True)
class Method:
    """A pre-training config, and what differs from it here.

    Attributes:
        config: path of the config, below the root of the project.
        options: ``key: value`` overrides, with dots in the keys.
        fork: name of another method, from whose run this one continues.
        fork_epoch: the epoch of it after which it continues.
        layers: those of its encoder, if they are not those of :class:`Reading`.
    """

    config: str
    options: dict = field(default_factory=dict)
    fork: str | None = None
    fork_epoch: int | None = None
    layers: list[int] | None = None


@dataclass(frozen=True)
class Reading:
    """How features are read from frozen backbones.

    Attributes:
        layers: indices of the blocks, or stages, whose feature maps are read.
        grids: parts of an image that are averaged, see :func:`mmmask.evaluation.pool`.
        k: number of neighbours.
        labels: fractions of the training labels for the linear probe.
        draws: number of random choices of each fraction below 1.
    """

    layers: list[int]
    grids: list[str]
    k: int = 10
    labels: list[float] = field(default_factory=lambda: [1.0])
    draws: int = 5


@dataclass(frozen=True)
class Tuning:
    """Training of the whole network with labels, with and without pre-training.

    Attributes:
        labels: fractions of the training labels.
        epochs: over all training images; fewer images are repeated to as many steps.
        options: ``key: value`` overrides of ``configs/downstream/folder/classification.py``.
        scratch: budgets of the networks from random weights, in multiples of ``epochs``.
        methods: those whose backbones are trained, if not all. Random weights are those of the
            first.
    """

    labels: list[float]
    epochs: int
    options: dict = field(default_factory=dict)
    scratch: list[int] = field(default_factory=lambda: [1, 3])
    methods: list[str] | None = None


@dataclass(frozen=True)
class Campaign:
    """Methods × seeds on one set of images.

    Attributes:
        epochs: length of each pre-training.
        points: number of checkpoints, evenly spaced, at which curves are measured.
        reference: the method that others are compared with.
        license: of the images, for the cards of exported backbones.
    """

    name: str
    title: str
    data: Data
    methods: dict[str, Method]
    seeds: list[int]
    epochs: int
    reading: Reading
    points: int = 5
    reference: str | None = None
    tuning: Tuning | None = None
    license: str | None = None

    @property
    def interval(self) -> int:
        """Epochs between two checkpoints."""
        return self.epochs // self.points

    @property
    def tuned(self) -> list[str]:
        """The methods whose backbones are trained with labels."""
        return (self.tuning and self.tuning.methods) or list(self.methods)

    def layers(self, method: str) -> list[int]:
        """The layers of a method's encoder that are read, in their order."""
        return sorted(self.methods[method].layers or self.reading.layers)


def read_campaign(path: str | os.PathLike) -> Campaign:
    """Read a campaign; its name is that of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the key, if one is unknown or missing, or values contradict each other.
    """
    path = Path(path)
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict):
        raise ValueError(f'{path} must contain keys and values, such as "seeds: [0, 1, 2]".')
    content = dict(content, name=path.stem)
    parts = dict(data=Data, reading=Reading, tuning=Tuning)
    for key, kind in parts.items():
        if key in content:
            content[key] = _build(kind, content[key], f'{path}: {key}')
    methods = content.get('methods') or {}
    content['methods'] = {
        name: _build(Method, value, f'{path}: methods.{name}') for name, value in methods.items()
    }
    campaign = _build(Campaign, content, str(path))
    _check(campaign, path)
    return campaign


def _build(kind: type, content, where: str):
    if not isinstance(content, dict):
        raise ValueError(f'{where} must contain keys and values, but it is {content!r}.')
    names = [one.name for one in fields(kind)]
    for key in content:
        if key not in names:
            raise ValueError(f'{where} has an unknown key {key!r}: {_remedy(key, names)}.')
    for one in fields(kind):
        required = one.default is MISSING and one.default_factory is MISSING
        if required and one.name not in content:
            raise ValueError(f'{where} lacks {one.name!r}.')
    return kind(**content)


def _remedy(key: str, names: Sequence[str]) -> str:
    close = get_close_matches(key, names, n=1)
    return f'did you mean {close[0]!r}?' if close else f'use {", ".join(names)}'


def _check(campaign: Campaign, path: Path) -> None:
    methods = campaign.methods
    if not methods:
        raise ValueError(f'{path}: methods is empty.')
    for name in campaign.tuned:
        if name not in methods:
            raise ValueError(f'{path}: tuning.methods={name!r} is none of {list(methods)}.')
    for name, method in methods.items():
        if method.fork is None:
            continue
        parent = methods.get(method.fork)
        if parent is None or parent.fork:
            raise ValueError(
                f'{path}: methods.{name}.fork={method.fork!r} must be a method of this file '
                'that is not a fork itself.'
            )
        step = campaign.interval
        if method.fork_epoch not in range(step, campaign.epochs, step):
            raise ValueError(
                f'{path}: methods.{name}.fork_epoch={method.fork_epoch!r} must be an epoch with '
                f'a checkpoint, one of {list(range(step, campaign.epochs, step))}.'
            )
    if campaign.epochs % campaign.points:
        raise ValueError(
            f'{path}: epochs={campaign.epochs} must be a multiple of points={campaign.points}.'
        )
    if campaign.reference not in (None, *methods):
        raise ValueError(
            f'{path}: reference={campaign.reference!r} is none of the methods, {list(methods)}.'
        )
