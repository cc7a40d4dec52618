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
from .card import normalization
from .folders import is_folder, write_folder
from .programs import PROGRAMS, write_program
from .verification import relative_difference, verified

PREFIX = 'backbone.'
OPENMMLAB = ('mmpretrain', 'mmdet', 'mmseg')


class Export(NamedTuple):
    """What an export did.

    Attributes:
        renaming: which tensor went where, and which were left out.
        max_difference: largest difference between the features in mmmask and in the target's
            network, relative to the largest feature.
        snippet: code or config that loads the file.
        note: what a user of the file must know beyond the snippet.
        address: of the repository that the folder was uploaded to.
    """

    renaming: Renaming
    max_difference: float
    snippet: str
    note: str
    address: str | None = None


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
        hub_config: content of ``config.json`` in a folder for the target.
    """

    matched: list[tuple[tuple[str, ...], tuple[str, ...]]]
    content: dict
    image_shape: tuple[int, int, int]
    expected: Callable[[Tensor], Sequence[Tensor]]
    features: Callable[[Path, Tensor], Sequence[Tensor]]
    snippet: str
    note: str
    hub_config: dict | None = None


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

    @abstractmethod
    def network(
        self, tensors: Mapping[str, Tensor], meta: Mapping
    ) -> tuple[nn.Module, tuple[int, int, int]]:
        """The encoder with its weights in evaluation mode, and (C, H, W) of its training images.

        Its last output is what ``torch`` and ``onnx`` export.

        Raises:
            CheckpointError: as :meth:`plan` does.
        """

    def export(
        self,
        tensors: Mapping[str, Tensor],
        meta: Mapping,
        dst: Path,
        target: str,
        repository: str | None = None,
    ) -> Export:
        """Write the backbone for a library unless its features differ there.

        Args:
            tensors: all tensors of the checkpoint, which are written in single precision.
            meta: of the checkpoint, with ``num_heads`` if the caller knows it.
            dst: file or folder to write.
            target: one of ``targets``, or of ``PROGRAMS``.
            repository: name on the hub, if a folder goes there.

        Raises:
            CheckpointError: for another target or an architecture that the target does not have,
                or if the features differ.
            ModuleNotFoundError: if the target is not installed.
        """
        if target not in (*self.targets, *PROGRAMS):
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
        if target in PROGRAMS:
            return self._export_program(tensors, meta, dst, target)
        plan = self.plan(tensors, meta, dst, target)
        # Building a network samples random numbers, which must not disturb the caller's.
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            images = torch.randn(2, *plan.image_shape)

            def measure(draft: Path) -> float:
                return relative_difference(plan.features(draft, images), plan.expected(images))

            if is_folder(dst, target):
                difference = write_folder(plan, meta, dst, target, measure, self.name, repository)
            else:
                difference = write_verified(plan.content, dst, target, measure)
        exported = {name for names, _ in plan.matched for name in names}
        left_out = [name for name in tensors if name not in exported]
        renaming = Renaming(find_tensors(plan.content, dst), plan.matched, left_out)
        return Export(renaming, difference, plan.snippet, plan.note)

    def _export_program(
        self, tensors: Mapping[str, Tensor], meta: Mapping, dst: Path, target: str
    ) -> Export:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            network, shape = self.network(tensors, meta)
            difference, snippet = write_program(network, shape, dst, target)
        used = {f'{PREFIX}{name}': tensor for name, tensor in network.state_dict().items()}
        left_out = [name for name in tensors if name not in used]
        renaming = Renaming(used, [((name,), (name,)) for name in used], left_out)
        return Export(renaming, difference, snippet, _normalization_note(meta))


def _normalization_note(meta: Mapping) -> str:
    known = normalization(meta)
    if known is None:
        return 'Normalise images as in pre-training.'
    return 'Normalise images with mean {} and standard deviation {} (pixels from 0 to 255).'.format(
        *known
    )


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
        difference = verified(draft, target, measure)
        os.replace(draft, dst)
    finally:
        draft.unlink(missing_ok=True)
    return difference


def part(tensors: Mapping[str, Tensor], prefix: str = PREFIX) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def loaded(network: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A network in evaluation mode with these tensors, loaded strictly."""
    network.load_state_dict(tensors, strict=True)
    network.eval()  # some networks of OpenMMLab return nothing here
    return network


def run(network: nn.Module, tensors: Mapping[str, Tensor], images: Tensor) -> Sequence[Tensor]:
    """The output of a network in evaluation mode with these tensors, loaded strictly."""
    return loaded(network, tensors)(images)


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


def run_timm(
    build: Callable[[], nn.Module], path: Path, images: Tensor
) -> tuple[nn.Module, Tensor]:
    """timm's network with the weights of a file or a folder, and what its last layer computes.

    Args:
        build: gives the network for the weights of a file; a folder contains its architecture.
    """
    import timm

    if path.is_dir():
        network = timm.create_model(f'local-dir:{path}', pretrained=True)
    else:
        network = build()
        timm.models.load_checkpoint(network, str(path))
    network.eval()
    return network, network.forward_features(images)


def timm_config(architecture: str, width: int, options: Mapping) -> dict:
    """``config.json`` of a folder for timm.

    Args:
        architecture: a name of timm's registry that builds this kind of network.
        width: of the features.
        options: arguments of the network, which replace those of the name.
    """
    return dict(
        architecture=architecture,
        num_classes=0,
        num_features=width,
        model_args={key: value for key, value in options.items() if key != 'num_classes'},
    )


def timm_snippet(network: str, options: Mapping, path: Path) -> str:
    """Code that builds a network of ``timm.models`` and loads a file."""
    return (
        'import timm\n\n'
        f'model = timm.models.{network}({arguments(options)})\n'
        f'timm.models.load_checkpoint(model, {str(path)!r})\n'
    )


def arguments(options: Mapping, *more: str) -> str:
    """Options, and more that is code already, as the arguments of a call, one on each line."""
    lines = [f'{key}={value!r}' for key, value in options.items()]
    return '\n' + ''.join(f'    {line},\n' for line in (*lines, *more))
