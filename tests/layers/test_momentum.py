import copy

import pytest
import torch
from torch import nn

from mmmask.layers import MomentumCopy


def fill(module, value):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)


@pytest.fixture
def online():
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    fill(module, 1.0)
    return module


def test_the_first_update_copies_and_the_next_ones_average(online):
    average = MomentumCopy(0.9, encoder=online)
    assert average.is_new
    fill(online, 2.0)
    average.update()
    assert not average.is_new
    assert all((p == 2).all() for p in average.module['encoder'].parameters())
    fill(online, 12.0)
    average.update()  # 0.9 * 2 + 0.1 * 12
    for parameter in average.module['encoder'].parameters():
        torch.testing.assert_close(parameter, torch.full_like(parameter, 3.0))


def test_several_modules_by_name_and_as_functions():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    average = MomentumCopy(0.5, encoder=first, projector=second)
    inputs = torch.randn(3, 2)
    expected = second(first(inputs))
    fill(first, 0.0)
    copies = average.module
    torch.testing.assert_close(copies['projector'](copies['encoder'](inputs)), expected)


def test_equal_networks_stay_equal_bit_for_bit(online):
    nn.init.normal_(online[0].weight)
    average = MomentumCopy(0.9973, encoder=online)
    for _ in range(5):
        average.update()
    assert torch.equal(average.module['encoder'][0].weight, online[0].weight)


def test_momentum_follows_half_a_cosine(online):
    average = MomentumCopy(0.99, 1.0, encoder=online)
    for progress, expected in ((0, 0.99), (0.5, 0.995), (1, 1.0)):
        average.update(progress)
        assert average.momentum == pytest.approx(expected)
    constant = MomentumCopy(0.99, encoder=online)
    constant.update(0.7)
    assert constant.momentum == pytest.approx(0.99)


def test_a_momentum_of_one_keeps_the_initial_weights(online):
    average = MomentumCopy(1.0, encoder=online)
    average.update()
    fill(online, 5.0)
    average.update(0.5)
    assert all((p == 1).all() for p in average.module['encoder'].parameters())


def test_buffers_are_copied(online):
    average = MomentumCopy(0.9, encoder=online)
    average.update()
    online.train()(torch.randn(8, 2) + 3)
    average.update()
    for name, buffer in online.named_buffers():
        assert torch.equal(average.module['encoder'].get_buffer(name), buffer)
    assert online[1].num_batches_tracked == 1


def test_it_is_never_trained(online):
    average = MomentumCopy(0.9, encoder=online)
    assert not any(p.requires_grad for p in average.parameters())
    assert all(p.requires_grad for p in online.parameters())
    average.update()
    assert not any(p.requires_grad for p in average.parameters())


def test_the_state_dict_holds_the_copy_and_not_the_online_modules(online):
    model = nn.ModuleDict(dict(backbone=online, teacher=MomentumCopy(0.9, encoder=online)))
    names = set(model.state_dict())
    inner = set(online.state_dict())
    assert names == (
        {f'backbone.{name}' for name in inner}
        | {f'teacher.module.encoder.{name}' for name in inner}
        | {'teacher.n_averaged'}
    )
    fill(online, 4.0)
    model['teacher'].update()
    other = copy.deepcopy(online)
    loaded = nn.ModuleDict(dict(backbone=other, teacher=MomentumCopy(0.9, encoder=other)))
    loaded.load_state_dict(model.state_dict())
    assert not loaded['teacher'].is_new


def test_a_copied_model_averages_its_own_modules(online):
    """A deep copy must average its own modules, not those of the original."""
    model = nn.ModuleDict(dict(backbone=online, teacher=MomentumCopy(0.9, encoder=online)))
    clone = copy.deepcopy(model)
    fill(model['backbone'], 7.0)
    fill(clone['backbone'], 3.0)
    clone['teacher'].update()
    assert all((p == 3).all() for p in clone['teacher'].parameters())
    assert all((p == 1).all() for p in model['teacher'].parameters())
    clone['backbone'].double()
    clone.double()
    fill(clone['backbone'], 13.0)
    clone['teacher'].update()
    for parameter in clone['teacher'].parameters():
        torch.testing.assert_close(parameter, torch.full_like(parameter, 4.0))


@pytest.mark.parametrize('momentum', [-0.1, 1.5])
def test_wrong_momentum_is_named(online, momentum):
    with pytest.raises(ValueError, match=f'momentum={momentum} must lie'):
        MomentumCopy(momentum, encoder=online)
    with pytest.raises(ValueError, match=f'final_momentum={momentum} must lie'):
        MomentumCopy(0.9, momentum, encoder=online)
