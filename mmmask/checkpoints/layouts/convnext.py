"""ConvNeXt, versions 1 and 2, of timm, of Hugging Face and of their own code."""

from collections.abc import Mapping

from .rules import HUGGINGFACE_HEADS, SAME, Change, Layout, Rule, affine

# Layers on positions are linear or, in small networks of timm, 1×1 convolutions.
LINEAR = Change(lambda parts: parts[0].flatten(1), lambda tensor: (tensor,))
# Hugging Face and ConvNeXt's own code keep the vectors of response norms as (1, 1, 1, C).
VECTOR = Change(lambda parts: parts[0].flatten(), lambda tensor: (tensor[None, None, None],))


def _convnext(
    stem: tuple[str, str],
    merging: str,
    block: str,
    names: Mapping[str, str],
    norm: str,
    vector=SAME,
    response: tuple[str, str] = ('weight', 'bias'),
) -> tuple[Rule, ...]:
    """Four stages; ``{s}`` is the number of a stage, ``{i}`` that of a block."""
    rules = []
    for layer, name in enumerate(stem):
        rules += affine(f'backbone.downsample_layers.0.{layer}', name)
    for stage in range(4):
        if stage:
            for layer in range(2):
                theirs = f'{merging.format(s=stage)}.{layer}'
                rules += affine(f'backbone.downsample_layers.{stage}.{layer}', theirs)
        ours, theirs = f'backbone.stages.{stage}.{{i}}', block.format(s=stage, i='{i}')
        for layer in ('depthwise_conv', 'norm', 'pointwise_conv1', 'pointwise_conv2'):
            weight = LINEAR if 'pointwise' in layer else SAME
            rules += affine(f'{ours}.{layer}', f'{theirs}.{names[layer]}', weight=weight)
        for own, name in zip(('gamma', 'beta'), response, strict=True):
            theirs_norm = f'{theirs}.{names["grn"]}.{name}'
            rules.append(Rule(f'{ours}.grn.{own}', (theirs_norm,), 'response norms', vector))
        rules.append(Rule(f'{ours}.gamma', (f'{theirs}.{names["gamma"]}',), 'LayerScale'))
    return (*rules, *affine('backbone.norm3', norm, optional='last norm'))


# Those of ConvNeXt's own code, most of which Hugging Face has taken over.
_NAMES = dict(
    depthwise_conv='dwconv',
    norm='norm',
    pointwise_conv1='pwconv1',
    pointwise_conv2='pwconv2',
    grn='grn',
    gamma='gamma',
)

LAYOUTS = {
    'timm-convnext': Layout(
        'timm ConvNeXt, version 1 or 2, encoder only',
        rules=_convnext(
            stem=('stem.0', 'stem.1'),
            merging='stages.{s}.downsample',
            block='stages.{s}.blocks.{i}',
            names=dict(
                depthwise_conv='conv_dw',
                norm='norm',
                pointwise_conv1='mlp.fc1',
                pointwise_conv2='mlp.fc2',
                grn='mlp.grn',
                gamma='gamma',
            ),
            norm='head.norm',
        ),
        left_out=(r'head\.fc\.',),
    ),
    'huggingface-convnext': Layout(
        'Hugging Face ConvNextModel or ConvNextV2Model, encoder only',
        rules=_convnext(
            stem=('embeddings.patch_embeddings', 'embeddings.layernorm'),
            merging='encoder.stages.{s}.downsampling_layer',
            block='encoder.stages.{s}.layers.{i}',
            names=_NAMES | dict(norm='layernorm', gamma='layer_scale_parameter'),
            norm='layernorm',
            vector=VECTOR,
        ),
        left_out=HUGGINGFACE_HEADS,
    ),
    'convnext': Layout(
        "ConvNeXt's own code, version 1 or 2, encoder only",
        rules=_convnext(
            stem=('downsample_layers.0.0', 'downsample_layers.0.1'),
            merging='downsample_layers.{s}',
            block='stages.{s}.{i}',
            names=_NAMES,
            norm='norm',
            vector=VECTOR,
            response=('gamma', 'beta'),
        ),
        left_out=(r'head\.',),
    ),
}
