"""The optimizer steps that a momentum copy follows."""

from types import SimpleNamespace

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmmask.engine.hooks import MomentumUpdateHook
from mmmask.layers import MomentumCopy


class ScaledWrapper(OptimWrapper):
    """mmengine's fp16 wrapper, without the need for a GPU."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=1024.0, growth_interval=2)

    def backward(self, loss, **kwargs) -> None:
        self.loss_scaler.scale(loss).backward()
        self._inner_count += 1

    def step(self, **kwargs) -> None:
        self.loss_scaler.step(self.optimizer)
        self.loss_scaler.update()


def train(wrapper_class, losses, **kwargs):
    """Steps of one weight that starts at 0, with given losses -> values of it and its copy."""
    online = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(online.weight)
    model = nn.ModuleDict(dict(online=online, copy=MomentumCopy(0.5, online=online)))
    optimizer = torch.optim.SGD(online.parameters(), lr=1.0)
    wrapper = wrapper_class(optimizer=optimizer, **kwargs)
    logged = []
    runner = SimpleNamespace(
        model=model,
        optim_wrapper=wrapper,
        iter=0,
        max_iters=len(losses),
        logger=None,
        message_hub=SimpleNamespace(update_scalar=lambda *scalar: logged.append(scalar)),
    )
    wrapper.initialize_count_status(model, 0, len(losses))
    hook = MomentumUpdateHook()
    hook.before_train(runner)
    history = []
    for runner.iter, factor in enumerate(losses):
        hook.before_train_iter(runner, runner.iter)
        wrapper.update_params(factor * online.weight.sum())
        hook.after_train_iter(runner, runner.iter)
        history.append((online.weight.item(), model['copy'].module['online'].weight.item()))
    assert set(logged) == {('train/momentum', 0.5)}
    return history


def test_every_step_counts():
    assert train(OptimWrapper, [-1.0, -1.0, -1.0]) == [(1, 0.5), (2, 1.25), (3, 2.125)]


def test_accumulated_gradients_count_once():
    history = train(OptimWrapper, [-2.0] * 4, accumulative_counts=2)
    assert history == [(0, 0), (2, 1), (2, 1), (4, 2.5)]


def test_steps_that_the_loss_scale_skips_do_not_count():
    inf = float('inf')
    history = train(ScaledWrapper, [-1.0, inf, -1.0, -1.0, inf])
    # the scale doubles after two good steps, and halves at each bad one
    assert history == [(1, 0.5), (1, 0.5), (2, 1.25), (3, 2.125), (3, 2.125)]
