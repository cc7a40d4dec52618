"""Mask generators, encoders, decoders and targets combine freely, or one sentence says why not.

The components are those of the registry. For two kinds of components, each pair is completed by
components that fit and trains two steps, which gives the tables of docs/combinations.md. Random
combinations of four then do what the tables say. After a change, write the page again by

    python tests/test_combinations.py
"""

import inspect
import random
import re
from collections.abc import Iterator
from functools import cache
from itertools import combinations, islice, product

import pytest
import torch
from conftest import ROOT
from torch import nn

from mmmask import masking, models
from mmmask.apis.config_trial import on_meta
from mmmask.registry import MODELS

PAGE = ROOT / 'docs' / 'combinations.md'
SIDE, PATCH = 64, 8
WIDTHS = dict(embed_dims=16, num_heads=2)
VIT = dict(
    type='mmmask.MaskedVisionTransformer',
    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    img_size=SIDE,
    patch_size=PATCH,
    out_indices=[0, 1],
)
# Both feature maps have one token for each unit of 8 px.
SWIN = dict(
    type='mmmask.MaskedSwinTransformer',
    arch=dict(embed_dims=8, depths=[1, 1, 1], num_heads=[1, 2, 4]),
    img_size=SIDE,
    patch_size=2,
    window_size=4,
    out_indices=(1, 2),
    out_after_downsample=True,
)
RESNET = dict(
    type='mmmask.MaskedResNet',
    depth=18,
    base_channels=8,
    stem_channels=8,
    num_stages=2,
    strides=(2, 1),
    dilations=(1, 1),
    out_indices=(0, 1),
)
CONVNEXT = dict(
    type='mmmask.MaskedConvNeXt',
    arch=dict(depths=[1, 1], channels=[8, 16]),
    stem_patch_size=4,
    out_indices=(1,),
)
ENCODERS = {
    'ViT, visible': dict(type='mmmask.MaskedImageModel', backbone=VIT),
    'ViT, mask tokens': dict(type='mmmask.SimMIM', backbone=VIT),
    'ViT, CrossMAE': dict(type='mmmask.CrossMAE', backbone=VIT),
    'ViT, data2vec 2.0': dict(type='mmmask.Data2Vec2', num_masks=2, class_weight=0.0, backbone=VIT),
    'Swin, visible': dict(type='mmmask.MaskedImageModel', backbone=SWIN),
    'Swin, mask tokens': dict(type='mmmask.SimMIM', backbone=SWIN),
    'ResNet, visible': dict(type='mmmask.MaskedImageModel', backbone=RESNET),
    'ConvNeXt, visible': dict(type='mmmask.MaskedImageModel', backbone=CONVNEXT),
}
EXPLANATION = """# Combinations of components

Mask generators, encoders, decoders and target generators are chosen independently. This page is
written by `python tests/test_combinations.py`, which trains each pair for two steps together with
components that fit both. The test suite compares the page with the code, and tries random
combinations of four components. A number refers to the note below the table. It is the error
message that appears before a training starts or in its rehearsal, or says which component is
missing.

An encoder with *visible* patches receives only these, as in MAE. An encoder with *mask tokens* also
receives a learnt token for each hidden patch, as in SimMIM. CrossMAE and data2vec 2.0 encode
visible patches, too. CrossMAE predicts a part of the hidden ones. data2vec 2.0 has two masks of
each image here, and no loss of the class token, for which target and encoder need the same width.
ResNet and ConvNeXt are [masked convolutional encoders](../configs/spark/README.md), with visible
units of pixels. ConvNeXt returns one feature map here and the other encoders return two; a decoder
for a single map reads the last one. In a target *at two scales*, each feature map has a target of
its own. `BlockPredictor` is tried with I-JEPA, which compares its predictions block by block.
`FeatureGroupMask` is not listed, because it hides positions of feature maps (in MaskDeep) and not
patches.
"""


def registered(method: str, *names: str) -> list[str]:
    """Classes of mmmask with a method that takes these arguments, by name."""
    return sorted(
        name
        for name, built in MODELS.module_dict.items()
        if inspect.isclass(built)
        and built.__module__.startswith('mmmask.')
        and not built.__name__.startswith('_')
        and hasattr(built, method)
        and [*inspect.signature(getattr(built, method)).parameters][1 : 1 + len(names)] == [*names]
    )


def variants() -> dict[str, dict[str, dict]]:
    """Kind -> name -> config of every component, with the smallest arguments."""
    masks = {
        name: dict(type=f'mmmask.{name}')
        for name in registered('forward', 'num_images', 'grid', 'device', 'evidence')
    }
    masks['EvolvedHierarchyMask, shared, of features'] = dict(
        type='mmmask.EvolvedHierarchyMask', shared=True, affinity='feat_cos'
    )
    decoders = {name: dict(type=f'mmmask.{name}') for name in registered('forward', 'taps', 'mask')}
    small = dict(depth=1, **WIDTHS)
    for config in decoders.values():
        takes = inspect.signature(MODELS.get(config['type'])).parameters
        if 'decoders' in takes:
            several, token = config, dict(type='mmmask.TokenDecoder', **small)
        else:
            config.update({key: value for key, value in small.items() if key in takes})
    for name in ('LinearDecoder', 'ConvDecoder'):
        decoders[f'MultiScaleDecoder of {name}s'] = several | dict(decoders=[decoders[name]] * 2)
    several.update(decoders=[token, token])
    needed = dict(
        HOGTarget=dict(cell_sizes=PATCH), FeatureTarget=dict(name='test_vit', weights='random')
    )
    two_scales = dict(
        PixelTarget=dict(patch_size=(PATCH, PATCH)),
        HOGTarget=dict(cell_sizes=(PATCH, PATCH)),
        FeatureTarget=dict(layers=[0, 1]),
    )
    targets = {}
    for name in reversed(registered('channels', 'in_channels')):  # the slow FeatureTarget last
        targets[name] = dict(type=f'mmmask.{name}', **needed.get(name, {}))
        if name in two_scales:
            targets[f'{name} at two scales'] = targets[name] | two_scales[name]
    return dict(mask=masks, encoder=ENCODERS, decoder=decoders, target=targets)


VARIANTS = variants()
KINDS = tuple(VARIANTS)


def build(mask: dict, encoder: dict, decoder: dict, target: dict) -> nn.Module:
    config = dict(
        encoder,
        masking=mask,
        neck=decoder,
        target_generator=target,
        head=dict(type='MaskedRegressionHead'),
        _scope_='mmmask',
    )
    if MODELS.get(mask['type']).needs_evidence:
        config.update(parser=dict(type='mmmask.EncoderParser'))
    if decoder['type'] == 'mmmask.BlockPredictor' and encoder['type'] == 'mmmask.MaskedImageModel':
        config.update(type='mmmask.IJEPA')
    return MODELS.build(config)


@cache
def refusal(*chosen: str) -> str | None:
    """Why an encoder, a decoder and a target are refused with any mask."""
    parts = (VARIANTS[kind][name] for kind, name in zip(KINDS[1:], chosen, strict=True))
    try:
        with on_meta():
            build(VARIANTS['mask']['RandomMask'], *parts)
    except ValueError as error:
        return str(error)


@cache
def outcome(*chosen: str) -> str | None:
    """None if a mask, an encoder, a decoder and a target train two steps; else the message."""
    mask, encoder, decoder, target = (
        VARIANTS[kind][name] for kind, name in zip(KINDS, chosen, strict=True)
    )
    if message := refusal(*chosen[1:]):
        return message
    torch.manual_seed(0)
    try:
        model = build(mask, encoder, decoder, target)
        for module in model.modules():
            if hasattr(module, 'set_progress'):
                module.set_progress(0.9)  # the masks follow evidence
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for _ in range(2):
            losses = model(torch.randn(2, 3, SIDE, SIDE), mode='loss')
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
        assert all(p.isfinite().all() for p in model.parameters())
    except ValueError as error:
        return str(error)


def fillings(chosen: dict[str, str]) -> Iterator[dict[str, str]]:
    """The chosen components with all choices of the others, masks changing first."""
    others = [kind for kind in reversed(KINDS) if kind not in chosen]
    for rest in product(*(VARIANTS[kind] for kind in others)):
        full = chosen | dict(zip(others, rest, strict=True))
        yield {kind: full[kind] for kind in KINDS}


@cache
def works(*pair: tuple[str, str]) -> bool:
    """Whether two components, (kind, name) each, combine in any company.

    After as many failures as there are masks, nothing in the company can be the reason.
    """
    accepted = (full for full in fillings(dict(pair)) if not refusal(*[*full.values()][1:]))
    tries = islice(accepted, len(VARIANTS['mask']))
    return any(outcome(*full.values()) is None for full in tries)


def explain(*pair: tuple[str, str]) -> str | None:
    """Why two components do not combine: the message where nothing else is wrong.

    If something else is wrong in any company, it is the message that all companies have in common,
    or that no third component fits both.
    """
    if works(*pair):
        return None
    for full in fillings(dict(pair)):
        other_pairs = [one for one in combinations(full.items(), 2) if {*one} != {*pair}]
        if all(works(*one) for one in other_pairs):
            return generalise(outcome(*full.values()), *pair)
    messages = {generalise(outcome(*full.values()), *pair) for full in fillings(dict(pair))}
    if len(messages) == 1:
        return messages.pop()
    for kind, names in VARIANTS.items():
        thirds = ((kind, name) for name in names)
        if not any(all(works(one, third) for one in pair) for third in thirds):
            return f'no {kind} fits both.'
    raise AssertionError(f'{pair} never fail alone')


def generalise(message: str, *components: tuple[str, str]) -> str:
    """A message without numbers in brackets, and with kinds instead of what it complains about."""
    complaint, colon, remedy = message.partition(': ')
    for kind, name in components:
        config = VARIANTS[kind][name]
        classes = {config['type']: kind}
        if kind == 'encoder':
            classes = {config['backbone']['type']: kind, config['type']: 'method'}
        for built, word in classes.items():
            complaint = re.sub(rf'\b{built.split(".")[1]}\b', f'*{word}*', complaint)
    return re.sub(r'=\([\d, ]+\)', '', complaint) + colon + remedy


def table(kinds: tuple[str, str]) -> str:
    """The Markdown table of two kinds, with the messages below it."""
    rows, columns = (VARIANTS[kind] for kind in kinds)
    cells = {
        (row, column): explain((kinds[0], row), (kinds[1], column))
        for row in rows
        for column in columns
    }
    messages = list(dict.fromkeys(message for message in cells.values() if message))
    if not messages:
        return f'Every {kinds[0]} combines with every {kinds[1]}.\n'
    lines = [[f'{kinds[0]} \\ {kinds[1]}', *columns], ['---'] * (1 + len(columns))]
    for row in rows:
        marks = [cells[row, column] for column in columns]
        lines.append([row, *(f'({messages.index(m) + 1})' if m else 'yes' for m in marks)])
    text = '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)
    notes = '\n'.join(f'{index}. {message}' for index, message in enumerate(messages, 1))
    return f'{text}\n\n{notes}\n'


def page() -> str:
    sections = [
        f'## {first.capitalize()} and {second}\n\n{table((first, second))}'
        for first, second in combinations(KINDS, 2)
    ]
    return '\n'.join([EXPLANATION, *sections])


def test_the_page_is_what_the_code_does():
    assert PAGE.read_text() == page(), 'write it again: python tests/test_combinations.py'


def test_every_component_takes_part():
    """Components that hide, encode, decode or compare patches; the rest is of other methods."""
    encoders = {config['backbone']['type'].split('.')[1] for config in ENCODERS.values()}
    assert encoders == {*registered('forward', 'images', 'mask')}
    exported = {name for name in dir(models) if re.search('Decoder$|Predictor$|Target$', name)}
    targets = {f'{name}Target' for name in ('HOG', 'Pixel')}
    taking_part = {name.split()[0] for kind in ('decoder', 'target') for name in VARIANTS[kind]}
    assert exported | targets == taking_part
    generators = {name for name in dir(masking) if name.endswith('Mask')}
    others = {'Mask', 'SharedMask', 'FeatureGroupMask'}
    assert generators - others == {re.split(r'\W', name)[0] for name in VARIANTS['mask']}


@pytest.mark.parametrize('seed', range(20))
def test_random_combinations_do_what_the_tables_say(seed):
    chance = random.Random(seed)
    chosen = [(kind, chance.choice([*VARIANTS[kind]])) for kind in KINDS]
    reasons = {pair: explain(*pair) for pair in combinations(chosen, 2) if not works(*pair)}
    message = outcome(*(name for _, name in chosen))
    assert (message is None) == (not reasons)
    assert not reasons or any(generalise(message, *pair) == why for pair, why in reasons.items())


if __name__ == '__main__':
    PAGE.write_text(page())
