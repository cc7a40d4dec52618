"""Vision transformers for OpenMMLab's libraries, timm and Hugging Face."""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor, nn

from mmmask.models.backbones import MaskedVisionTransformer

from ..configs import read_backbone_config
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
    run_file,
    run_timm,
    timm_config,
    timm_snippet,
)
from .folders import is_folder, loading_code

# Options that do not change what the trained encoder computes, or that the tensors contain.
_KNOWN = {
    *('type', 'arch', 'img_size', 'patch_size', 'in_channels', 'with_cls_token', 'final_norm'),
    *('out_indices', 'out_type', 'drop_rate', 'drop_path_rate', 'frozen_stages', 'init_cfg'),
    *('interpolate_mode', 'layer_scale_init_value', 'qkv_bias'),
}
# What to know about the file, without and with a final norm.
_NOTES = {
    'mmpretrain': (
        'The encoder has no final norm. The snippet averages the patch tokens, and a '
        'new norm, ln2, normalises the average.',
        'The snippet returns the class token after the final norm.',
    ),
    'mmdet': (
        'The snippet returns one map of stride patch_size, without a final norm.',
        'The snippet returns one map of stride patch_size, after the final norm.',
    ),
    'mmseg': (
        'The snippet returns maps of stride patch_size, without a final norm.',
        'The snippet returns maps of stride patch_size, the last after the final norm.',
    ),
    'timm': (
        'The encoder has no final norm, so the snippet builds the network without one. To '
        "fine-tune, build it with num_classes=... and global_pool='avg', without final_norm, "
        'and load with strict=False: only head and fc_norm are new.',
        "The final norm is timm's norm.",
    ),
    'huggingface': (
        'The encoder has no final norm but ViTModel always has one: the file gives it weight 1 '
        'and bias 0, and the tokens before it were compared.',
        "The final norm is ViTModel's layernorm.",
    ),
}

_MEAN_AFTER_NORM = (
    'The snippet averages the patch tokens after the final norm, and a new norm, ln2, normalises '
    'the average.'
)
# The norm of the average of all tokens in a fine-tuned classifier.
_POOLED_NORM = f'{PREFIX}ln2.'
_WITHOUT_POOLED_NORM = (
    ' The norm of the average, ln2, belongs to the classifier as its head does: both are left out.'
)
_TIMM_WITHOUT_CLASS_TOKEN = dict(class_token=False, global_pool='avg', fc_norm=False)


class Architecture(NamedTuple):
    """A vision transformer, as mmpretrain describes it.

    Attributes:
        arch: ``embed_dims``, ``num_layers``, ``num_heads`` and ``feedforward_channels``.
        img_size: (H, W) of pre-training, to which the position table belongs.
        patch_size: side of a patch.
        in_channels: channels of the images.
        out_indices: layers whose feature maps pre-training used.
        final_norm: whether a norm follows the last layer.
        layer_scale: whether the branches of a layer are scaled.
        qkv_bias: whether queries, keys and values have a bias.
        class_token: whether a class token precedes the patches.
    """

    arch: dict[str, int]
    img_size: tuple[int, int]
    patch_size: int
    in_channels: int
    out_indices: tuple[int, ...]
    final_norm: bool
    layer_scale: bool = False
    qkv_bias: bool = True
    class_token: bool = True

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
            **(dict(layer_scale_init_value=1.0) if self.layer_scale else {}),
            **({} if self.qkv_bias else dict(qkv_bias=False)),
            **({} if self.class_token else dict(with_cls_token=False)),
        )

    @property
    def timm_options(self) -> dict:
        """Arguments of timm's ``VisionTransformer``."""
        return dict(
            img_size=self.image_size,
            patch_size=self.patch_size,
            in_chans=self.in_channels,
            embed_dim=self.arch['embed_dims'],
            depth=self.arch['num_layers'],
            num_heads=self.arch['num_heads'],
            mlp_ratio=self.arch['feedforward_channels'] / self.arch['embed_dims'],
            num_classes=0,
            final_norm=self.final_norm,
            **(dict(init_values=1.0) if self.layer_scale else {}),
            **({} if self.qkv_bias else dict(qkv_bias=False)),
            **({} if self.class_token else _TIMM_WITHOUT_CLASS_TOKEN),
        )

    @property
    def huggingface_name(self) -> str:
        """What the names of Hugging Face's model and config begin with."""
        return 'ViT' if self.class_token else 'IJepa'

    @property
    def huggingface_options(self) -> dict:
        """Arguments of Hugging Face's ``ViTConfig`` or ``IJepaConfig``."""
        return dict(
            image_size=self.image_size,
            patch_size=self.patch_size,
            num_channels=self.in_channels,
            hidden_size=self.arch['embed_dims'],
            num_hidden_layers=self.arch['num_layers'],
            num_attention_heads=self.arch['num_heads'],
            intermediate_size=self.arch['feedforward_channels'],
            layer_norm_eps=1e-6,
        )

    @property
    def huggingface_config(self) -> dict:
        """``config.json`` of a folder for Hugging Face."""
        return dict(
            architectures=[f'{self.huggingface_name}Model'],
            model_type=self.huggingface_name.lower(),
            dtype='float32',
            **self.huggingface_options,
        )


class ViTFamily(Family):
    name = 'vision transformer'
    targets = (*OPENMMLAB, 'timm', 'huggingface')
    takes_num_heads = True

    def matches(self, tensors: Mapping[str, Tensor]) -> bool:
        return any(name.startswith(f'{PREFIX}layers.') for name in tensors)

    def plan(self, tensors: Mapping[str, Tensor], meta: Mapping, dst: Path, target: str) -> Plan:
        encoder = _encoder(tensors)
        # OpenMMLab's names are mmmask's own; timm's table still finds unknown and missing ones.
        renaming = rename(encoder, 'timm' if target in OPENMMLAB else target, 'ours')
        a = read_architecture(encoder, meta, meta.get('num_heads'))
        matched, content, hub = renaming.matched, renaming.tensors, None
        if target in OPENMMLAB:
            matched = [((name,), (name,)) for name in encoder]
            content = dict(state_dict=encoder, meta=a.options)
            features = partial(_run_openmmlab, a)
            snippet = openmmlab_snippet(dst, _openmmlab_backbone(a, target))
        elif target == 'timm':
            features = partial(_run_timm, a)
            snippet = timm_snippet('VisionTransformer', a.timm_options, dst)
            hub = timm_config('vit_base_patch16_224', a.arch['embed_dims'], a.timm_options)
        else:
            width = a.arch['embed_dims']
            neutral = {'layernorm.weight': torch.ones(width), 'layernorm.bias': torch.zeros(width)}
            content = neutral | content
            features = partial(_run_huggingface, a)
            snippet = _huggingface_snippet(a, dst)
            hub = a.huggingface_config
        if is_folder(dst, target):
            snippet = loading_code(target, str(dst))

        def expected(images: Tensor) -> list[Tensor]:
            return run(MaskedVisionTransformer(**a.options), part(encoder), images)[-1:]

        shape = a.in_channels, *a.img_size
        note = _NOTES[target][a.final_norm].replace('ViTModel', f'{a.huggingface_name}Model')
        if target == 'mmpretrain' and a.final_norm and not a.class_token:
            note = _MEAN_AFTER_NORM
        if any(name.startswith(_POOLED_NORM) for name in tensors):
            note += _WITHOUT_POOLED_NORM
        return Plan(matched, content, shape, expected, features, snippet, note, hub)

    def network(
        self, tensors: Mapping[str, Tensor], meta: Mapping
    ) -> tuple[VisionTransformer, tuple[int, int, int]]:
        encoder = _encoder(tensors)
        rename(encoder, 'timm', 'ours')  # finds unknown and missing names
        a = read_architecture(encoder, meta, meta.get('num_heads'))
        network = VisionTransformer(**a.options, out_type='raw')
        return loaded(network, part(encoder)), (a.in_channels, *a.img_size)


def _encoder(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors up to the tokens of the last layer and their norm."""
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name.startswith(PREFIX) and not name.startswith(_POOLED_NORM)
    }


def _run_openmmlab(a: Architecture, path: Path, images: Tensor) -> list[Tensor]:
    network = VisionTransformer(**a.options, out_type='raw')
    return run_file(network, path, images)[-1:]


def _openmmlab_backbone(a: Architecture, target: str) -> dict:
    depth = a.arch['num_layers']
    # Four levels: the feature maps of pre-training if there are four, else the end of each quarter.
    quarters = sorted({max(depth * quarter // 4 - 1, 0) for quarter in (1, 2, 3, 4)})
    outputs = dict(
        mmpretrain=dict(out_type='cls_token' if a.final_norm and a.class_token else 'avg_featmap'),
        mmdet=dict(out_type='featmap', out_indices=[depth - 1]),
        mmseg=dict(
            out_type='featmap',
            out_indices=list(a.out_indices) if len(a.out_indices) == 4 else quarters,
        ),
    )
    return dict(type='mmpretrain.VisionTransformer', **a.options, **outputs[target])


def _run_timm(a: Architecture, path: Path, images: Tensor) -> list[Tensor]:
    def build() -> nn.Module:
        from timm.models import VisionTransformer as Theirs

        return Theirs(**a.timm_options)

    return [run_timm(build, path, images)[1]]


def _run_huggingface(a: Architecture, path: Path, images: Tensor) -> list[Tensor]:
    import transformers

    name = f'{a.huggingface_name}Model'
    options = dict(add_pooling_layer=False, output_loading_info=True)
    if path.is_dir():
        network, report = transformers.AutoModel.from_pretrained(path, **options)
    else:
        network, report = getattr(transformers, name).from_pretrained(
            None,
            config=getattr(transformers, f'{a.huggingface_name}Config')(**a.huggingface_options),
            state_dict=find_tensors(open_checkpoint(path)),
            **options,
        )
    unmatched = {kind: sorted(map(str, names)) for kind, names in report.items() if names}
    if unmatched:
        raise CheckpointError(f'{name} of transformers did not match every tensor: {unmatched}.')
    before_norm = []
    network.layernorm.register_forward_pre_hook(lambda _, inputs: before_norm.append(inputs[0]))
    output = network.eval()(images).last_hidden_state
    return [output] if a.final_norm else before_norm


def _huggingface_snippet(a: Architecture, path: Path) -> str:
    reader, tensors = (
        ('from safetensors.torch import load_file', f'load_file({str(path)!r})')
        if path.suffix == '.safetensors'
        else ('import torch', f'torch.load({str(path)!r}, weights_only=True)')
    )
    name = a.huggingface_name
    return (
        f'{reader}\n'
        f'from transformers import {name}Config, {name}Model\n\n'
        f'config = {name}Config({arguments(a.huggingface_options)})\n'
        f'model = {name}Model.from_pretrained(\n'
        f'    None, config=config, state_dict={tensors}, add_pooling_layer=False\n)\n'
    )


def read_architecture(
    encoder: Mapping[str, Tensor], meta: Mapping, num_heads: int | None = None
) -> Architecture:
    """Tensors named ``backbone.*`` and a checkpoint's meta -> architecture.

    Raises:
        CheckpointError: if the number of heads is unknown, contradicts the config or does not
            divide the width; or if the config has an option that changes what the encoder computes
            and is not read here.
    """
    config = read_backbone_config(meta)
    foreign = {key: value for key, value in config.items() if key not in _KNOWN}
    if foreign:
        raise CheckpointError(
            f'the backbone was trained with {foreign}. The export does not know these options, '
            'which may change what the encoder computes: export it by hand.'
        )
    width, in_channels, _, patch_size = encoder[f'{PREFIX}patch_embed.projection.weight'].shape
    depth = sum(name.endswith('.ln2.weight') for name in encoder)
    hidden = len(encoder[f'{PREFIX}layers.0.ffn.layers.0.0.bias'])
    heads = _num_heads(config.get('arch'), num_heads, (width, depth, hidden))
    arch = dict(embed_dims=width, num_layers=depth, num_heads=heads, feedforward_channels=hidden)
    class_token = f'{PREFIX}cls_token' in encoder
    num_patches = encoder[f'{PREFIX}pos_embed'].shape[1] - class_token
    out_indices = config.get('out_indices', -1)
    out_indices = [out_indices] if isinstance(out_indices, int) else out_indices
    return Architecture(
        arch,
        _image_size(config.get('img_size'), num_patches, patch_size),
        patch_size,
        in_channels,
        tuple(index % depth for index in out_indices),
        f'{PREFIX}ln1.weight' in encoder,
        f'{PREFIX}layers.0.attn.gamma1.weight' in encoder,
        f'{PREFIX}layers.0.attn.qkv.bias' in encoder,
        class_token,
    )


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
            'the number of attention heads is in no tensor, the checkpoint has no config, and no '
            'standard architecture has width {}, {} layers and an MLP of {}: give num_heads '
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
            f'the position table has {num_patches} patches of {patch_size} px, which does not fit '
            f'{height}x{width} px: the config in the checkpoint must name the img_size.'
        )
    return height, width
