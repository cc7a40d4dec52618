"""The alarm for embeddings that become the same."""

import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmmask.engine.hooks import CollapseHook, embedding_std


class Doubled(nn.Module):
    """Embeds views, given one by one, through a module whose output is wrapped."""

    def __init__(self):
        super().__init__()
        self.projector = nn.Identity()

    def forward(self, views):
        return [self.projector((view,)) for view in views]


def run(views, **options):
    """One iteration of the hook on a model that passes its views through; scalars, warnings."""
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
