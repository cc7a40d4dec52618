"""What the tensors and the config in a checkpoint say about its backbone."""

import ast
import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor

from .files import CheckpointError

# Options that change nothing of what the trained encoder computes, or are read from the tensors.
_KNOWN = {
    *('type', 'arch', 'img_size', 'patch_size', 'in_channels', 'with_cls_token', 'final_norm'),
    *('out_indices', 'out_type', 'drop_rate', 'drop_path_rate', 'frozen_stages', 'init_cfg'),
    'interpolate_mode',
}


class Architecture(NamedTuple):
    """A vision transformer, as mmpretrain describes it.

    Attributes:
        arch: ``embed_dims``, ``num_layers``, ``num_heads`` and ``feedforward_channels``.
        img_size: (H, W) of pre-training, to which the position table belongs.
        patch_size: side of a patch.
        in_channels: channels of the images.
        out_indices: layers that pre-training tapped.
        final_norm: whether a norm follows the last layer.
    """

    arch: dict[str, int]
    img_size: tuple[int, int]
    patch_size: int
    in_channels: int
    out_indices: tuple[int, ...]
    final_norm: bool

    @property
    def image_size(self) -> int | tuple[int, int]:
        """The side of square images, else (H, W): what constructors take."""
        height, width = self.img_size
        return height if height == width else self.img_size

    @property
    def options(self) -> dict:
        """Arguments of mmpretrain's ``VisionTransformer`` and its subclasses."""
        return dict(
            arch=self.arch,
            img_size=self.image_size,
            patch_size=self.patch_size,
            in_channels=self.in_channels,
            final_norm=self.final_norm,
        )


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

    image_size = Architecture.image_size

    @property
    def options(self) -> dict:
        """Arguments of mmpretrain's ``SwinTransformer`` and its subclasses."""
        layer_norm = dict(type='LN', eps=1e-6)
        return dict(
            arch=dict(
                embed_dims=self.widths[0], depths=list(self.depths), num_heads=list(self.num_heads)
            ),
            img_size=self.image_size,
            patch_size=self.patch_size,
            in_channels=self.in_channels,
            patch_cfg=dict(norm_cfg=layer_norm),
            stage_cfgs=[
                dict(
                    window_size=window,
                    block_cfgs=dict(norm_cfg=layer_norm),
                    downsample_cfg=dict(norm_cfg=layer_norm),
                )
                for window in self.windows
            ],
        )


def read_swin_architecture(encoder: Mapping[str, Tensor], meta: Mapping) -> SwinArchitecture:
    """Tensors of a Swin encoder by mmpretrain's names, and a checkpoint's meta -> architecture.

    The tensors tell everything but the size of the images: without a config in the meta it is that
    at which the last map is one window.

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


def read_architecture(
    encoder: Mapping[str, Tensor], meta: Mapping, num_heads: int | None = None
) -> Architecture:
    """Tensors named ``backbone.*`` and a checkpoint's meta -> architecture.

    The config in the meta is text; it is read as data and never executed.

    Raises:
        CheckpointError: if the number of heads is unknown, contradicts the config or does not
            divide the width; or if the config has an option that changes what the encoder computes
            and is not read here.
    """
    config = _backbone_config(meta.get('cfg', ''))
    foreign = {key: value for key, value in config.items() if key not in _KNOWN}
    if foreign:
        raise CheckpointError(
            f'the backbone was trained with {foreign}, which may change what it computes and which '
            'the export does not know: export it by hand.'
        )
    width, in_channels, _, patch_size = encoder['backbone.patch_embed.projection.weight'].shape
    depth = sum(name.endswith('.ln2.weight') for name in encoder)
    hidden = len(encoder['backbone.layers.0.ffn.layers.0.0.bias'])
    heads = _num_heads(config.get('arch'), num_heads, (width, depth, hidden))
    arch = dict(embed_dims=width, num_layers=depth, num_heads=heads, feedforward_channels=hidden)
    num_patches = encoder['backbone.pos_embed'].shape[1] - 1
    out_indices = config.get('out_indices', -1)
    out_indices = [out_indices] if isinstance(out_indices, int) else out_indices
    return Architecture(
        arch,
        _image_size(config.get('img_size'), num_patches, patch_size),
        patch_size,
        in_channels,
        tuple(index % depth for index in out_indices),
        'backbone.ln1.weight' in encoder,
    )


class _AsLiteral(ast.NodeTransformer):
    """``dict(a=1)`` -> ``{'a': 1}``, which ``ast.literal_eval`` accepts."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if getattr(node.func, 'id', None) != 'dict' or node.args:
            return node
        keys = [ast.Constant(keyword.arg) for keyword in node.keywords]
        return ast.Dict(keys, [keyword.value for keyword in node.keywords])


def _backbone_config(text: str) -> dict:
    """The literal ``model.backbone`` of a config's text; empty where there is none."""
    try:
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets) == 'model':
                return ast.literal_eval(_AsLiteral().visit(statement.value))['backbone']
    except (SyntaxError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"the config in the checkpoint's meta['cfg'] does not name model.backbone as plain "
            f"data ({error!r}): remove meta['cfg'] from the file and give num_heads instead."
        ) from error
    return {}


def describe_backbone(meta: Mapping) -> dict:
    """What a checkpoint's meta says about its backbone; empty where it says nothing readable."""
    try:
        return _backbone_config(meta.get('cfg', '')) or dict(meta)
    except CheckpointError:
        return {}


def _num_heads(arch: str | dict | None, given: int | None, shape: tuple[int, int, int]) -> int:
    """Heads by config, argument or mmpretrain's architecture of this width, depth and MLP."""
    if isinstance(arch, str):
        arch = VisionTransformer.arch_zoo.get(arch.lower())
    configured = arch['num_heads'] if arch else None
    if given and configured and given != configured:
        raise CheckpointError(
            f"num_heads={given}, but the checkpoint's config says {configured}: leave it out."
        )
    standard = {
        (known['embed_dims'], known['num_layers'], known['feedforward_channels']): known
        for known in VisionTransformer.arch_zoo.values()
    }
    heads = given or configured or standard.get(shape, {}).get('num_heads')
    if heads is None:
        raise CheckpointError(
            'tensors do not tell the number of attention heads, the checkpoint has no config, and '
            'no standard architecture has width {}, {} layers and an MLP of {}: give num_heads '
            '(--num-heads).'.format(*shape)
        )
    if shape[0] % heads:
        raise CheckpointError(f'num_heads={heads} does not divide the width {shape[0]}.')
    return heads


def _image_size(
    configured: int | tuple[int, int] | None, num_patches: int, patch_size: int
) -> tuple[int, int]:
    side = configured or math.isqrt(num_patches) * patch_size
    height, width = (side, side) if isinstance(side, int) else side
    if (height // patch_size) * (width // patch_size) != num_patches:
        raise CheckpointError(
            f'the position table has {num_patches} patches of {patch_size} px, which is no image '
            f'of {height}x{width} px: the config in the checkpoint must name the img_size.'
        )
    return height, width
