"""ResNet of torchvision, timm and Hugging Face."""

from collections.abc import Sequence

from .rules import HUGGINGFACE_HEADS, Layout, Rule

# What mmpretrain, torchvision and timm call the parts of a ResNet, convolutions with their norms.
_RESNET = dict(
    stem=('conv1', 'bn1'),
    stages=[f'layer{stage}' for stage in (1, 2, 3, 4)],
    layers=[(f'conv{n}', f'bn{n}') for n in (1, 2, 3)],
    shortcut=('downsample.0', 'downsample.1'),
)


def _resnet(
    stem: tuple[str, str],
    stages: Sequence[str],
    layers: Sequence[tuple[str, str]],
    shortcut: tuple[str, str],
) -> tuple[Rule, ...]:
    """ResNet of four stages, of basic blocks or of bottlenecks, by their names of its parts."""
    rules = [*_normed(_RESNET['stem'], stem)]
    for stage, pair in enumerate(zip(_RESNET['stages'], stages, strict=True)):
        # Bottlenecks have a third layer and a shortcut in the first stage, too.
        first, block = (tuple(f'{name}.{number}.' for name in pair) for number in ('0', '{i}'))
        rules += _normed(_RESNET['shortcut'], shortcut, first, '' if stage else 'bottleneck')
        for number, names in enumerate(zip(_RESNET['layers'], layers, strict=True)):
            rules += _normed(*names, block, 'bottleneck' if number == 2 else '')
    return tuple(rules)


def _normed(
    ours: tuple[str, str],
    theirs: tuple[str, str],
    block: tuple[str, str] = ('', ''),
    optional: str = '',
) -> tuple[Rule, ...]:
    """A convolution and its batch norm in a block of our and of their name.

    Files from before 2018 lack the norm's count of batches, which nothing depends on.
    """
    count = f'{optional} count'.strip()
    tensors = (
        (0, 'weight', optional),
        *((1, name, optional) for name in ('weight', 'bias', 'running_mean', 'running_var')),
        (1, 'num_batches_tracked', count),
    )
    return tuple(
        Rule(
            f'backbone.{block[0]}{ours[layer]}.{name}',
            (f'{block[1]}{theirs[layer]}.{name}',),
            optional,
        )
        for layer, name, optional in tensors
    )


LAYOUTS = {
    'resnet': Layout(
        'torchvision or timm ResNet, encoder only',
        rules=_resnet(**_RESNET),
        left_out=(r'fc\.',),
    ),
    'huggingface-resnet': Layout(
        'Hugging Face ResNetModel, encoder only',
        rules=_resnet(
            stem=('embedder.embedder.convolution', 'embedder.embedder.normalization'),
            stages=[f'encoder.stages.{stage}.layers' for stage in range(4)],
            layers=[(f'layer.{n}.convolution', f'layer.{n}.normalization') for n in range(3)],
            shortcut=('shortcut.convolution', 'shortcut.normalization'),
        ),
        left_out=HUGGINGFACE_HEADS,
    ),
}
