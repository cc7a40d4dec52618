"""The warning for embeddings that become equal."""

import logging
from types import SimpleNamespace

import pytest
import torch
from conftest import build_model
from torch import nn

from mmmask.engine.hooks import CollapseHook
from mmmask.engine.hooks.collapse import embedding_std
from mmmask.evaluation import observing, pool


class Doubled(nn.Module):
    """Embeds views one by one through a module whose output is wrapped."""

    def __init__(self):
        super().__init__()
        self.projector = nn.Identity()

    def forward(self, views):
        return [self.projector((view,)) for view in views]


def run(views, **options):
    """One iteration of the hook on a model that returns its views -> scalars, warnings."""
    scalars, warnings = {}, []
    model = Doubled()
    runner = SimpleNamespace(
        model=model,
        iter=0,
        message_hub=SimpleNamespace(
            update_scalar=lambda name, value: scalars.update({name: value})
        ),
        logger=SimpleNamespace(warning=warnings.append),
    )
    hook = CollapseHook('projector', **(dict(interval=1) | options))
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    model(views)
    hook.after_train_iter(runner, 0)
    assert not model.projector._forward_hooks
    return scalars, warnings


def test_embedding_std_by_hand():
    """Two unit vectors along the axes deviate by 1/2 in each dimension, whatever their lengths."""
    embeddings = torch.tensor([[3.0, 0.0], [0.0, 0.1]])
    assert embedding_std(embeddings).item() == pytest.approx(0.5)
    assert embedding_std(torch.stack([embeddings, embeddings], dim=1)).item() == pytest.approx(0.5)
    assert embedding_std(torch.ones(5, 3)).item() == 0


def test_even_directions_give_one_over_the_root_of_the_width():
    torch.manual_seed(0)
    assert embedding_std(torch.randn(4096, 64)).item() == pytest.approx(1 / 8, rel=0.01)


def test_views_are_averaged_and_healthy_ones_are_quiet():
    torch.manual_seed(0)
    healthy = torch.randn(256, 16)
    scalars, warnings = run([healthy, torch.ones(256, 16)])
    assert scalars == {'train/embedding_std': pytest.approx(embedding_std(healthy).item() / 2)}
    assert warnings == []


def test_collapse_raises_the_alarm():
    constant = torch.ones(8, 16) + 0.01 * torch.randn(8, 16)
    scalars, (warning,) = run([constant])
    assert scalars['train/embedding_std'] < 0.16 * 0.25
    assert 'embeddings collapse' in warning and '0.25 is healthy' in warning
    assert run([constant], alarm_below=0.0)[1] == []
    assert len(run([torch.full((8, 16), torch.nan)])[1]) == 1


def test_between_the_intervals_nothing_is_watched():
    assert run([torch.ones(4, 4)], interval=2) == ({}, [])


def test_an_unknown_module_is_named():
    runner = SimpleNamespace(model=Doubled(), logger=logging.getLogger())
    with pytest.raises(AttributeError, match="module='neck' is not in the model.*projector"):
        CollapseHook('neck').before_train(runner)


@pytest.mark.parametrize('config', ['mae_vit-tiny_digits.py', 'maskdeep_resnet-tiny_digits.py'])
def test_the_encoder_of_any_method(config):
    """The random state and the model do not change. Equal features are a collapse."""
    model, scalars, warnings = build_model(f'demo/{config}'), {}, []
    runner = SimpleNamespace(
        model=model,
        iter=499,
        message_hub=SimpleNamespace(update_scalar=scalars.__setitem__),
        logger=SimpleNamespace(warning=warnings.append),
    )
    images = torch.randint(0, 256, (8, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    batch = dict(inputs=images.to(torch.uint8), data_samples=[])
    hook = CollapseHook(interval=500, alarm_below=0.01)
    hook.before_train(runner)
    random_state = torch.get_rng_state()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    for iteration, looks in ((498, 0), (499, 1)):
        runner.iter = iteration
        hook.before_train_iter(runner, iteration, batch)
        hook.after_train_iter(runner, iteration, batch)
        assert len(scalars) == looks
    assert warnings == [] and model.training
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    with observing(model, batch) as (_, data):
        features = pool(model(data), 'mean', getattr(model.backbone, 'num_extra_tokens', 0))
    assert scalars['train/embedding_std'] == pytest.approx(embedding_std(features).item())

    constant = [torch.ones_like(tap) for tap in model(data)]
    model.backbone.register_forward_hook(lambda *call: tuple(constant))
    hook.after_train_iter(runner, 499, batch)
    (line,) = warnings
    assert line.startswith('embeddings collapse: embedding_std=0 of backbone at iteration 500')
