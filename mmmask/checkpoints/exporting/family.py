"""What all encoder families share: the check of a written file, and code that loads it."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ..files import CheckpointError, find_tensors, open_checkpoint, write_checkpoint
from ..renaming import Renaming

PREFIX = 'backbone.'
OPENMMLAB = ('mmpretrain', 'mmdet', 'mmseg')
TOLERANCE = 1e-5
EXTRAS = dict(mmdet='detection', mmseg='segmentation', timm='export', huggingface='export')


class Export(NamedTuple):
    """What an export did.

    Attributes:
        renaming: which tensor went where, and which were left out.
        max_difference: largest difference between the features in mmmask and in the target's
            network, relative to the largest feature.
        snippet: code or config that loads the file.
        note: what a user of the file must know beyond the snippet.
    """

    renaming: Renaming
    max_difference: float
    snippet: str
    note: str


class Plan(NamedTuple):
    """What a family writes for a target, and how the written file is checked.

    Attributes:
        matched: (names in the checkpoint, names in the file) of each tensor.
        content: of the file.
        image_shape: (C, H, W) of the images whose features are compared.
        expected: images (B, C, H, W) -> features in mmmask.
        features: file, images -> the same features in the target's network.
        snippet: code or config that loads the file.
        note: what a user of the file must know beyond the snippet.
    """

    matched: list[tuple[tuple[str, ...], tuple[str, ...]]]
    content: dict
    image_shape: tuple[int, int, int]
    expected: Callable[[Tensor], Sequence[Tensor]]
    features: Callable[[Path, Tensor], Sequence[Tensor]]
    snippet: str
    note: str


class Family(ABC):
    """An encoder family that can be exported.

    Attributes:
        name: of the family, for errors.
        targets: the libraries that it can be exported to.
        alternative: what errors advise for other libraries.
        takes_num_heads: whether the number of attention heads is in no tensor.
    """

    name: str
    targets: Sequence[str]
    alternative = ''
    takes_num_heads = False

    @abstractmethod
    def matches(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether the backbone of a checkpoint belongs to this family."""

    @abstractmethod
    def plan(self, tensors: Mapping[str, Tensor], meta: Mapping, dst: Path, target: str) -> Plan:
        """What :meth:`export` writes and compares.

        Raises:
            CheckpointError: if the architecture cannot be built in the target.
        """

    def export(
        self, tensors: Mapping[str, Tensor], meta: Mapping, dst: Path, target: str
    ) -> Export:
        """Write the backbone for a library unless its features differ there.

        Args:
            tensors: all tensors of the checkpoint, which are written in single precision.
            meta: of the checkpoint, with ``num_heads`` if the caller knows it.
            dst: file to write.
            target: one of ``targets``.

        Raises:
            CheckpointError: for another target or an architecture that the target does not have,
                or if the features differ.
            ModuleNotFoundError: if the target is not installed.
        """
        if target not in self.targets:
            raise CheckpointError(
                f"the backbone is a {self.name}, which cannot be exported to target='{target}': "
                f'use one of {", ".join(self.targets)}.{self.alternative}'
            )
        if meta.get('num_heads') and not self.takes_num_heads:
            raise CheckpointError(
                f'num_heads={meta["num_heads"]} is for vision transformers, but the backbone is a '
                f'{self.name}: leave it out.'
            )
        tensors = {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}
        plan = self.plan(tensors, meta, dst, target)
        # Building a network samples random numbers, which must not disturb the caller's.
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            images = torch.randn(2, *plan.image_shape)
            difference = write_verified(
                plan.content,
                dst,
                target,
                lambda draft: relative_difference(
                    plan.features(draft, images), plan.expected(images)
                ),
            )
        exported = {name for names, _ in plan.matched for name in names}
        left_out = [name for name in tensors if name not in exported]
        renaming = Renaming(find_tensors(plan.content, dst), plan.matched, left_out)
        return Export(renaming, difference, plan.snippet, plan.note)


def write_verified(
    content: dict, dst: Path, target: str, measure: Callable[[Path], float]
) -> float:
    """Write ``content`` to ``dst`` unless the file gives other features; return their difference.

    Args:
        content: of the checkpoint.
        dst: file to write.
        target: name of the library, for the error.
        measure: file -> difference of the features that the library computes from it.

    Raises:
        CheckpointError: if the features differ; the file is then not there, or as it was.
        ModuleNotFoundError: if the library is not installed.
    """
    # The suffix comes last, because the libraries recognise the format by it.
    draft = dst.with_name(f'.{dst.stem}.{os.getpid()}{dst.suffix}')
    try:
        write_checkpoint(content, draft)
        difference = measure(draft)
        if not difference <= TOLERANCE:
            raise CheckpointError(
                f"the features of {target} differ from mmmask's by {difference:.3g} of the "
                f'largest one, more than {TOLERANCE:g}, so nothing was written: the installed '
                f'version of {target} computes something else, or the weights are not finite.'
            )
        os.replace(draft, dst)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'--to {target} compares the features in the library itself, and {error.name} is not '
            f'installed: pip install "mmmask[{EXTRAS[target]}]" (python -m mmmask.doctor says '
            'what else is missing). Nothing was written.',
            name=error.name,
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return difference


def relative_difference(features: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest difference of a feature map, relative to the largest value that is expected of it."""
    return max(
        ((one - other).abs().max() / other.abs().max()).item()
        for one, other in zip(features, expected, strict=True)
    )


def part(tensors: Mapping[str, Tensor], prefix: str = PREFIX) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def run(network: nn.Module, tensors: Mapping[str, Tensor], images: Tensor) -> Sequence[Tensor]:
    """The output of a network in evaluation mode with these tensors, loaded strictly."""
    network.load_state_dict(tensors, strict=True)
    network.eval()
    return network(images)


def run_file(network: nn.Module, path: Path, images: Tensor) -> Sequence[Tensor]:
    """The same with the backbone in a file for OpenMMLab."""
    return run(network, part(find_tensors(open_checkpoint(path))), images)


def openmmlab_snippet(path: Path, backbone: dict, neck: dict | None = None) -> str:
    """A config of modules that load their parts of the file."""
    config = {}
    for options, name in ((backbone, 'backbone'), (neck, 'neck')):
        if options:
            init_cfg = dict(type='Pretrained', checkpoint=str(path), prefix=f'{name}.')
            config[name] = dict(**options, init_cfg=init_cfg)
    return Config(config).pretty_text


def run_timm(network: nn.Module, path: Path, images: Tensor) -> list[Tensor]:
    """What a network of timm computes behind its last layer after timm has loaded the file."""
    import timm

    timm.models.load_checkpoint(network, str(path))
    return [network.eval().forward_features(images)]


def arguments(options: Mapping, *more: str) -> str:
    """Options, and more that is code already, as the arguments of a call, one on each line."""
    lines = [f'{key}={value!r}' for key, value in options.items()]
    return '\n' + ''.join(f'    {line},\n' for line in (*lines, *more))
