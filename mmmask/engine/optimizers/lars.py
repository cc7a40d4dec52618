"""LARS without synchronisation with the GPU."""

from collections.abc import Callable, Sequence

import torch
from mmpretrain.engine.optimizers import LARS as LoopLARS
from torch import Tensor

from mmmask.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class LARS(LoopLARS):
    """mmpretrain's ``LARS`` that updates all parameters of a group at once on GPUs.

    The loop of mmpretrain reads the norms of every parameter and of its gradient on the host, so it
    synchronises with the GPU twice for each parameter. Here the norms stay on the device.
    Arguments, state and results are those of mmpretrain's class (You et al., arXiv 1708.03888), bit
    for bit on CPUs.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update all parameters that have a gradient; the result is that of the closure."""
        with torch.enable_grad():
            loss = closure and closure()
        for group in self.param_groups:
            parameters = [p for p in group['params'] if p.grad is not None]
            # One after the other on CPUs, whose caches hold one parameter but not all.
            size = 1 if parameters and parameters[0].is_cpu else max(1, len(parameters))
            for start in range(0, len(parameters), size):
                self._update(parameters[start : start + size], group)
        return loss

    def _update(self, parameters: Sequence[Tensor], group: dict) -> None:
        gradients = [parameter.grad for parameter in parameters]
        updates = torch._foreach_add(gradients, parameters, alpha=group['weight_decay'])
        if group.get('lars_exclude'):
            torch._foreach_mul_(updates, group['lr'])
        else:
            torch._foreach_mul_(updates, self._rates(parameters, gradients, group))
        if group['momentum']:
            updates = self._accumulate(parameters, updates, group)
        torch._foreach_sub_(parameters, updates)

    def _rates(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], group: dict
    ) -> list[Tensor]:
        """The learning rate of each parameter, in fp64 as Python's numbers, then as its dtype."""
        weights, slopes = (
            torch.stack(torch._foreach_norm(tensors)).double()
            for tensors in (parameters, gradients)
        )
        adapted = group['eta'] * weights / (slopes + group['weight_decay'] * weights + self.eps)
        adapted = torch.where((weights != 0) & (slopes != 0), adapted, 1.0) * group['lr']
        return list(adapted.to(parameters[0].dtype).unbind())

    def _accumulate(
        self, parameters: Sequence[Tensor], updates: Sequence[Tensor], group: dict
    ) -> Sequence[Tensor]:
        """The updates with momentum; the first one of a parameter starts its average."""
        averages = []
        for parameter, update in zip(parameters, updates, strict=True):
            state = self.state[parameter]
            if 'momentum_buffer' in state:
                average = state['momentum_buffer']
                average.mul_(group['momentum']).add_(update, alpha=1 - group['dampening'])
            else:
                average = state['momentum_buffer'] = update.clone()
            averages.append(average)
        if group['nesterov']:
            return torch._foreach_add(updates, averages, alpha=group['momentum'])
        return averages
