"""Swin transformers for OpenMMLab's libraries and timm."""

import math
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones import SwinTransformer
from mmpretrain.models.utils import ShiftWindowMSA
from torch import Tensor, nn

from mmmask.models.backbones import MaskedSwinTransformer

from ..configs import describe_backbone
from ..files import CheckpointError, find_tensors, open_checkpoint
from ..renaming import rename
from .family import (
    OPENMMLAB,
    PREFIX,
    Family,
    Plan,
    arguments,
    loaded,
    openmmlab_snippet,
    part,
    run,
    run_timm,
)
from .folders import is_folder

EPSILON = 1e-6
LAYER_NORM = dict(type='LN', eps=EPSILON)
# Norms of the other stages. They follow the patch merging, where no other network has one, and
# belong to the decoders of pre-training.
_INNER_NORM = re.compile(r'norm[012]\.')
# A constant of OpenMMLab's networks, which timm computes.
_INDEX = 'relative_position_index'


class SwinArchitecture(NamedTuple):
    """A Swin transformer of four stages, as mmpretrain describes it; one value per stage.

    Attributes:
        depths: blocks.
        num_heads: attention heads.
        windows: sides of the windows.
        widths: channels.
        img_size: (H, W) of pre-training.
        patch_size: side of a patch.
        in_channels: channels of the images.
    """

    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    windows: tuple[int, ...]
    widths: tuple[int, ...]
    img_size: tuple[int, int]
    patch_size: int
    in_channels: int

    @property
    def image_size(self) -> int | tuple[int, int]:
        """The side of square images, else (H, W): what constructors take."""
        height, width = self.img_size
        return height if height == width else self.img_size

    @property
    def options(self) -> dict:
        """Arguments of mmpretrain's ``SwinTransformer`` and its subclasses."""
        return dict(
            arch=dict(
                embed_dims=self.widths[0], depths=list(self.depths), num_heads=list(self.num_heads)
            ),
            img_size=self.image_size,
            patch_size=self.patch_size,
            in_channels=self.in_channels,
            patch_cfg=dict(norm_cfg=LAYER_NORM),
            stage_cfgs=[
                dict(
                    window_size=window,
                    block_cfgs=dict(norm_cfg=LAYER_NORM),
                    downsample_cfg=dict(norm_cfg=LAYER_NORM),
                )
                for window in self.windows
            ],
        )

    @property
    def timm_options(self) -> dict:
        """Arguments of timm's ``SwinTransformer``, but for its norm.

        Raises:
            CheckpointError: if windows differ before the last stage.
        """
        if len(set(self.windows[:-1])) > 1:
            raise CheckpointError(
                'timm has one window size for all stages but the last, and this encoder has '
                f'{self.windows}.'
            )
        return dict(
            img_size=self.image_size,
            patch_size=self.patch_size,
            in_chans=self.in_channels,
            num_classes=0,
            embed_dim=self.widths[0],
            depths=self.depths,
            num_heads=self.num_heads,
            window_size=self.windows[0],
        )


class SwinFamily(Family):
    name = 'Swin transformer'
    targets = (*OPENMMLAB, 'timm')

    def matches(self, tensors: Mapping[str, Tensor]) -> bool:
        return f'{PREFIX}stages.0.blocks.0.attn.w_msa.relative_position_bias_table' in tensors

    def plan(self, tensors: Mapping[str, Tensor], meta: Mapping, dst: Path, target: str) -> Plan:
        encoder = {n: t for n, t in part(tensors).items() if not _INNER_NORM.match(n)}
        if is_folder(dst, target):
            raise CheckpointError(
                "timm's registry builds Swin transformers with norms of epsilon 1e-5 only, and "
                'this one has 1e-6, so a folder cannot describe it: write a file that ends in '
                '.safetensors.'
            )
        a = read_swin_architecture(encoder, meta)
        plain = {name: tensor for name, tensor in encoder.items() if not name.startswith('norm3')}

        def stages(images: Tensor) -> list[Tensor]:
            return run(_without_norms(MaskedSwinTransformer, a), plain, images)

        if target in OPENMMLAB:
            state_dict = {f'{PREFIX}{name}': tensor for name, tensor in encoder.items()}
            matched = [((name,), (name,)) for name in state_dict]
            content = dict(state_dict=state_dict, meta=a.options)
            expected, features = stages, partial(_run_openmmlab, a, list(plain))
            snippet = openmmlab_snippet(dst, _openmmlab_backbone(a, target))
        else:
            ours = {f'{PREFIX}{n}': t for n, t in encoder.items() if not n.endswith(_INDEX)}
            renaming = rename(ours, 'timm-swin', 'ours')
            matched = renaming.matched
            # timm always has a last norm: weight 1 and bias 0 if the encoder has none.
            width = a.widths[-1]
            content = {'norm.weight': torch.ones(width), 'norm.bias': torch.zeros(width)}
            content |= renaming.tensors

            def expected(images: Tensor) -> list[Tensor]:
                last = stages(images)[-1].permute(0, 2, 3, 1)
                norm = content['norm.weight'], content['norm.bias']
                return [F.layer_norm(last, last.shape[-1:], *norm, EPSILON)]

            features = partial(_run_timm, a)
            snippet = _timm_snippet(a, dst)
        note = (
            'The norm after the last stage is that of pre-training if it had one, and norms of '
            'other stages are new.'
        )
        shape = a.in_channels, *a.img_size
        return Plan(matched, content, shape, expected, features, snippet, note)

    def network(
        self, tensors: Mapping[str, Tensor], meta: Mapping
    ) -> tuple[SwinTransformer, tuple[int, int, int]]:
        encoder = {n: t for n, t in part(tensors).items() if not _INNER_NORM.match(n)}
        a = read_swin_architecture(encoder, meta)
        norm = LAYER_NORM if 'norm3.weight' in encoder else None
        network = SwinTransformer(**a.options, norm_cfg=norm, out_indices=(3,))
        for module in network.modules():
            if isinstance(module, ShiftWindowMSA):
                module.window_reverse = _join_windows
        return loaded(network, encoder), (a.in_channels, *a.img_size)


def _join_windows(windows: Tensor, height: int, width: int, side: int) -> Tensor:
    """(B·number, side, side, D) windows -> (B, H, W, D), as mmpretrain does for a fixed B."""
    grid = windows.view(-1, height // side, width // side, side, side, windows.shape[-1])
    return grid.transpose(2, 3).reshape(-1, height, width, windows.shape[-1])


def _without_norms(network: type[SwinTransformer], a: SwinArchitecture) -> SwinTransformer:
    """A network that gives every stage as it is."""
    return network(**a.options, norm_cfg=None, out_indices=(0, 1, 2, 3))


def _run_openmmlab(
    a: SwinArchitecture, names: Iterable[str], path: Path, images: Tensor
) -> list[Tensor]:
    theirs = part(find_tensors(open_checkpoint(path)))
    return run(_without_norms(SwinTransformer, a), {name: theirs[name] for name in names}, images)


def _openmmlab_backbone(a: SwinArchitecture, target: str) -> dict:
    backbone = dict(
        type='mmpretrain.SwinTransformer',
        **a.options,
        norm_cfg=LAYER_NORM,
        out_indices=(3,) if target == 'mmpretrain' else (0, 1, 2, 3),
    )
    if target != 'mmpretrain':
        backbone['pad_small_map'] = True  # images may be smaller than a window at the last stage
    return backbone


def _run_timm(a: SwinArchitecture, path: Path, images: Tensor) -> list[Tensor]:
    def build() -> nn.Module:
        from timm.models import SwinTransformer as Theirs

        return Theirs(**a.timm_options, norm_layer=partial(nn.LayerNorm, eps=EPSILON))

    return [run_timm(build, path, images)[1]]


def _timm_snippet(a: SwinArchitecture, path: Path) -> str:
    norm = f'norm_layer=partial(nn.LayerNorm, eps={EPSILON})'
    return (
        'from functools import partial\n\nimport timm\nfrom torch import nn\n\n'
        f'model = timm.models.SwinTransformer({arguments(a.timm_options, norm)})\n'
        f'timm.models.load_checkpoint(model, {str(path)!r})\n'
    )


def read_swin_architecture(encoder: Mapping[str, Tensor], meta: Mapping) -> SwinArchitecture:
    """Tensors of a Swin encoder by mmpretrain's names, and a checkpoint's meta -> architecture.

    The tensors contain everything but the size of the images. If the meta has no config, that is
    the size at which the last feature map is one window.

    Raises:
        CheckpointError: if there are not four stages.
    """
    width, in_channels, _, patch_size = encoder['patch_embed.projection.weight'].shape
    depths, heads, windows = [], [], []
    for stage in range(4):
        names = [n for n in encoder if re.match(rf'stages\.{stage}\..*bias_table$', n)]
        if not names:
            raise CheckpointError(f'the Swin transformer has {stage} stages, not four.')
        table = encoder[names[0]]
        depths.append(len(names))
        heads.append(table.shape[1])
        windows.append((math.isqrt(len(table)) + 1) // 2)
    size = describe_backbone(meta).get('img_size') or 8 * patch_size * windows[-1]
    return SwinArchitecture(
        tuple(depths),
        tuple(heads),
        tuple(windows),
        tuple(width * 2**stage for stage in range(4)),
        (size, size) if isinstance(size, int) else tuple(size),
        patch_size,
        in_channels,
    )
