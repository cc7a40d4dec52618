"""What follows from other components is derived; stating it differently is an error."""

import pytest
import torch
from conftest import ROOT
from mmengine.config import Config
from torch import nn

from mmmask.models import MaskedImageModel, MultiScaleDecoder, TokenDecoder
from mmmask.models.building import Derived, accepts, build
from mmmask.registry import MODELS

VIT = 'demo/mae_vit-tiny_digits.py'
LOCALMIM = 'demo/localmim_vit-tiny_digits.py'
SWIN = 'demo/localmim_swin-tiny_digits.py'


class Parent(nn.Module):
    def __init__(self, in_channels, bias=True):
        super().__init__()
        self.arguments = in_channels, bias


class Child(Parent):
    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width


def function(in_channels, **kwargs):
    return in_channels, kwargs


def test_arguments_are_found_in_parents():
    assert all(accepts(Child, name) for name in ('width', 'in_channels', 'bias'))
    assert not accepts(Child, 'out_channels') and not accepts(Parent, 'width')
    assert accepts(function, 'in_channels') and not accepts(function, 'kwargs')
    assert not accepts(function, 'out_channels')


def test_derived_values_are_fixed_and_others_are_defaults():
    derived = dict(in_channels=Derived(8, 'the width of the encoder'), bias=False, other=1)
    assert build(dict(type=Child, width=2), **derived).arguments == (8, False)
    assert build(dict(type=Child, width=2, bias=True), **derived).arguments == (8, True)
    assert build(dict(type=Child, width=2, in_channels=8), **derived).arguments == (8, False)
    with pytest.raises(
        ValueError, match='in_channels=9 must be 8, the width of the encoder: leave it out'
    ):
        build(dict(type=Child, width=2, in_channels=9), **derived)
    unknown = Derived(None, 'the width of the encoder')
    assert build(dict(type=Child, width=2, in_channels=9), in_channels=unknown).arguments[0] == 9
    assert build(dict(type=function), in_channels=derived['in_channels'], other=1) == (8, {})


def test_lists_and_tuples_are_the_same_value():
    config = dict(type=Parent, in_channels=[8, 16])
    assert build(config, in_channels=Derived((8, 16), 'the maps')).arguments[0] == [8, 16]


def model_of(name, **changes):
    cfg = Config.fromfile(ROOT / 'configs' / name)
    cfg.merge_from_dict({f'model.{key}': value for key, value in changes.items()})
    return MODELS.build(cfg.model)


@pytest.mark.parametrize('channels', [1, 4])
@pytest.mark.parametrize('name', [VIT, LOCALMIM, SWIN])
def test_the_number_of_colours_is_stated_once(name, channels):
    model = model_of(name, **{'backbone.in_channels': channels})
    model.init_weights()
    losses = model(torch.randn(2, channels, 64, 64), mode='loss')
    assert all(loss.isfinite() for loss in losses.values())


def test_the_architecture_is_stated_once():
    arch = dict(embed_dims=24, num_layers=6, num_heads=3, feedforward_channels=48)
    model = model_of(LOCALMIM, **{'backbone.arch': arch})
    assert [decoder.embed.in_features for decoder in model.neck.decoders] == [24] * 4
    assert model.backbone.out_channels == (24,) * 4
    assert model_of(VIT).backbone.out_channels == 128
    assert model_of(SWIN).backbone.out_channels == (64, 128, 128)


def test_patches_are_stated_once():
    model = model_of(VIT, **{'backbone.patch_size': 4})
    assert model.target_generator.patch_size == 4
    assert model.neck.project.out_features == 48


@pytest.mark.parametrize(
    ('name', 'key', 'value', 'message'),
    [
        (VIT, 'neck.in_channels', 99, 'in_channels=99 must be 128, the width of model.backbone'),
        (VIT, 'neck.out_channels', 768, 'out_channels=768 must be 192, the channels of model.targ'),
        (LOCALMIM, 'neck.decoders.1.in_channels', 64, 'in_channels=64 must be 128, the width of'),
        (SWIN, 'neck.decoders.0.in_channels', 96, 'in_channels=96 must be 64, the width of its'),
        (SWIN, 'neck.decoders.2.out_channels', 27, 'out_channels=27 must be 54, the channels of'),
        (
            VIT,
            'target_generator.patch_size',
            (8, 16),
            r'out_channels=\(192, 768\) are those',
        ),
        (SWIN, 'backbone.out_indices', (1, 2), '3 decoders do not fit 2 feature maps'),
        (SWIN, 'target_generator.cell_sizes', (8, 8), '3 decoders do not fit 2 scales of the targ'),
    ],
)
def test_what_is_derived_cannot_be_stated_differently(name, key, value, message):
    with pytest.raises(ValueError, match=message):
        model_of(name, **{key: value})


def test_a_method_that_is_registered_elsewhere_derives_too():
    class Method(MaskedImageModel):
        pass

    with pytest.raises(ValueError, match='in_channels=99 must be 128'):
        model_of(VIT, type=Method, **{'neck.in_channels': 99})


def test_a_decoder_reads_the_last_of_several_widths():
    assert TokenDecoder((8, 16), 3, 16, 1, 2).embed.in_features == 16
    decoder = dict(type='mmmask.TokenDecoder', embed_dims=16, depth=1, num_heads=2)
    neck = MultiScaleDecoder([decoder] * 2, (8, 16), (3, 5))
    assert [decoder.embed.in_features for decoder in neck.decoders] == [8, 16]
    assert [decoder.project.out_features for decoder in neck.decoders] == [3, 5]
