"""Vision transformers of the official LocalMIM and MAE, timm, torchvision and Hugging Face."""

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from mmmask.layers import sincos_position_embedding

from ..files import CheckpointError
from .rules import (
    FUSED,
    HOG_BIAS,
    HUGGINGFACE_HEADS,
    POINTWISE,
    SCALES,
    Fixed,
    Layout,
    Rule,
    affine,
    hog_filters,
    transformer_blocks,
)

ENCODER = (
    Rule('backbone.cls_token', ('cls_token',)),
    Rule('backbone.pos_embed', ('pos_embed',)),
    *affine('backbone.patch_embed.projection', 'patch_embed.proj'),
    *transformer_blocks('backbone.layers.{i}', 'blocks.{i}'),
)

# The same encoder with what timm has as options. DINO and DINOv2 have timm's names, too.
_OPTIONS = {
    'backbone.cls_token': 'class token',
    'backbone.layers.{i}.attn.qkv.bias': 'biases of queries, keys and values',
}
_ENCODER_WITH_OPTIONS = (
    *(rule._replace(optional=_OPTIONS.get(rule.ours, '')) for rule in ENCODER),
    Rule('backbone.layers.{i}.attn.gamma1.weight', ('blocks.{i}.ls1.gamma',), 'LayerScale'),
    Rule('backbone.layers.{i}.ffn.gamma2.weight', ('blocks.{i}.ls2.gamma',), 'LayerScale'),
)


_HUGGINGFACE_BLOCK = {
    'ln1': 'layernorm_before',
    'attn.proj': 'attention.output.dense',
    'ln2': 'layernorm_after',
    'ffn.layers.0.0': 'intermediate.dense',
    'ffn.layers.1': 'output.dense',
}


def _huggingface_blocks(ours: str, theirs: str, names: Mapping[str, str]) -> tuple[Rule, ...]:
    """Blocks of Hugging Face, by what it calls our layers of a block."""
    heads = (f'{theirs}.attention.attention.{part}' for part in ('query', 'key', 'value'))
    return (
        *(
            rule
            for our_layer, their_layer in names.items()
            for rule in affine(f'{ours}.{our_layer}', f'{theirs}.{their_layer}')
        ),
        *affine(f'{ours}.attn.qkv', *heads, weight=FUSED, bias=FUSED),
    )


def _huggingface(
    names: Mapping[str, str] = _HUGGINGFACE_BLOCK, prefix: str = ''
) -> tuple[Rule, ...]:
    """An encoder of Hugging Face without its last norm."""
    return (
        Rule('backbone.cls_token', (f'{prefix}embeddings.cls_token',), 'class token'),
        Rule('backbone.pos_embed', (f'{prefix}embeddings.position_embeddings',)),
        *affine(
            'backbone.patch_embed.projection', f'{prefix}embeddings.patch_embeddings.projection'
        ),
        *_huggingface_blocks('backbone.layers.{i}', f'{prefix}encoder.layer.{{i}}', names),
    )


HUGGINGFACE_ENCODER = _huggingface()
_HUGGINGFACE_NORM = affine('backbone.ln1', 'layernorm', optional='last norm')


def _decoder_position(mask_token: str) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """The fixed position table as wide as a decoder's mask token, for the encoder's patch grid."""

    def table(ours: Mapping[str, Tensor]) -> Tensor:
        num_patches = ours['backbone.pos_embed'].shape[1] - 1
        side = math.isqrt(num_patches)
        if side * side != num_patches:
            raise CheckpointError(
                f'the official layouts know square patch grids only, but backbone.pos_embed has '
                f'{num_patches} patches: export the backbone alone with mmmask export.'
            )
        return sincos_position_embedding((side, side), ours[mask_token].shape[-1], class_token=True)

    return table


def _localmim_decoder(scale: int) -> tuple[Rule, ...]:
    ours, theirs = f'neck.decoders.{scale}', f'decoder.{scale}'
    # Position of the layers in the rescaling head, the last of which is the projection.
    *deconvolutions, projection = ((0, 1, 3, 4), (0, 1), (0,), (1,))[scale]
    return (
        *affine(f'{ours}.input_norm', f'norm.{scale}'),
        Rule(f'{ours}.mask_token', (f'{theirs}.mask_token',)),
        *affine(f'{ours}.embed', f'{theirs}.embed'),
        *transformer_blocks(f'{ours}.layers.{{i}}', f'{theirs}.blocks.{{i}}'),
        *affine(f'{ours}.norm', f'{theirs}.norm'),
        *(
            rule
            for layer in deconvolutions
            for rule in affine(f'{ours}.project.{layer}', f'{theirs}.pred.{layer}')
        ),
        *affine(f'{ours}.project.{projection}', f'{theirs}.pred.{projection}', weight=POINTWISE),
    )


LAYOUTS = {
    'localmim-vit': Layout(
        'official LocalMIM ViT pre-training',
        rules=(
            *ENCODER,
            *(rule for scale in SCALES for rule in _localmim_decoder(scale)),
            HOG_BIAS,
        ),
        fixed=(
            *(
                Fixed(
                    f'decoder.{scale}.pos_embed',
                    _decoder_position(f'neck.decoders.{scale}.mask_token'),
                )
                for scale in SCALES
            ),
            *hog_filters('neck'),
        ),
        container='model',
    ),
    'mae': Layout(
        'facebookresearch MAE, pre-training or encoder only',
        rules=(
            *ENCODER,
            *affine('backbone.ln1', 'norm'),
            *affine('neck.embed', 'decoder_embed'),
            Rule('neck.mask_token', ('mask_token',)),
            *transformer_blocks('neck.layers.{i}', 'decoder_blocks.{i}'),
            *affine('neck.norm', 'decoder_norm'),
            *affine('neck.project', 'decoder_pred'),
        ),
        fixed=(Fixed('decoder_pos_embed', _decoder_position('neck.mask_token')),),
        container='model',
    ),
    'timm': Layout(
        'timm VisionTransformer, DINO or DINOv2, encoder only',
        rules=(*_ENCODER_WITH_OPTIONS, *affine('backbone.ln1', 'norm', optional='last norm')),
        left_out=(r'head\.', r'fc_norm\.', r'mask_token$'),
    ),
    'torchvision': Layout(
        'torchvision VisionTransformer, encoder only',
        rules=(
            Rule('backbone.cls_token', ('class_token',)),
            Rule('backbone.pos_embed', ('encoder.pos_embedding',)),
            *affine('backbone.patch_embed.projection', 'conv_proj'),
            *(
                rule
                for ours, theirs in {
                    'ln1': 'ln_1',
                    'attn.proj': 'self_attention.out_proj',
                    'ln2': 'ln_2',
                    'ffn.layers.0.0': 'mlp.0',
                    'ffn.layers.1': 'mlp.3',
                }.items()
                for rule in affine(
                    f'backbone.layers.{{i}}.{ours}', f'encoder.layers.encoder_layer_{{i}}.{theirs}'
                )
            ),
            *(
                Rule(
                    f'backbone.layers.{{i}}.attn.qkv.{name}',
                    (f'encoder.layers.encoder_layer_{{i}}.self_attention.in_proj_{name}',),
                )
                for name in ('weight', 'bias')
            ),
            *affine('backbone.ln1', 'encoder.ln'),
        ),
        left_out=(r'heads\.',),
    ),
    'huggingface': Layout(
        'Hugging Face ViTModel or IJepaModel, encoder only',
        rules=(*HUGGINGFACE_ENCODER, *_HUGGINGFACE_NORM),
        left_out=HUGGINGFACE_HEADS,
    ),
    'huggingface-mae': Layout(
        'Hugging Face ViTMAEForPreTraining',
        rules=(
            *_huggingface(prefix='vit.'),
            *affine('backbone.ln1', 'vit.layernorm'),
            *affine('neck.embed', 'decoder.decoder_embed'),
            Rule('neck.mask_token', ('decoder.mask_token',)),
            *_huggingface_blocks(
                'neck.layers.{i}', 'decoder.decoder_layers.{i}', _HUGGINGFACE_BLOCK
            ),
            *affine('neck.norm', 'decoder.decoder_norm'),
            *affine('neck.project', 'decoder.decoder_pred'),
        ),
        fixed=(Fixed('decoder.decoder_pos_embed', _decoder_position('neck.mask_token')),),
    ),
    'huggingface-dinov2': Layout(
        'Hugging Face Dinov2Model, encoder only',
        rules=(
            *_huggingface(
                {
                    'ln1': 'norm1',
                    'attn.proj': 'attention.output.dense',
                    'ln2': 'norm2',
                    'ffn.layers.0.0': 'mlp.fc1',
                    'ffn.layers.1': 'mlp.fc2',
                }
            ),
            Rule(
                'backbone.layers.{i}.attn.gamma1.weight',
                ('encoder.layer.{i}.layer_scale1.lambda1',),
            ),
            Rule(
                'backbone.layers.{i}.ffn.gamma2.weight',
                ('encoder.layer.{i}.layer_scale2.lambda1',),
            ),
            *_HUGGINGFACE_NORM,
        ),
        left_out=HUGGINGFACE_HEADS,
    ),
}
