"""Parameter groups by depth and by weight decay."""

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from mmmask.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Few parameter groups: one per pair of learning rate and weight decay.

    A parameter's rate is lr · ``layer_decay_rate`` ^ (last depth − its depth), as the model's
    ``get_layer_depth`` gives depths (BEiT's and MAE's rule). One-dimensional tensors (biases,
    norms) and the names that ``no_decay`` matches have no weight decay.

    ``paramwise_cfg`` takes:

    - ``layer_decay_rate``: 1 (default) treats all layers alike, as in pre-training.
    - ``no_decay``: parts of parameter names that get no weight decay either.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        options = dict(layer_decay_rate=1.0, no_decay=())
        unknown = set(paramwise_cfg or ()) - set(options)
        if unknown:
            raise ValueError(
                f'optim_wrapper.paramwise_cfg has unknown keys {sorted(unknown)}: this constructor '
                f'takes {sorted(options)}.'
            )
        super().__init__(optim_wrapper_cfg, options | dict(paramwise_cfg or {}))

    def learning_rate_scale(self, model: nn.Module, name: str) -> float:
        """Share of the base learning rate that a parameter gets."""
        rate = self.paramwise_cfg['layer_decay_rate']
        if rate == 1:
            return 1.0
        depth, num_depths = model.get_layer_depth(name)
        return rate ** (num_depths - 1 - depth)

    def add_params(self, params: list[dict], model: nn.Module, **kwargs) -> None:
        """Fill ``params`` with the groups of all trainable parameters."""
        groups: dict[tuple[float, bool], dict] = {}
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            scale = self.learning_rate_scale(model, name)
            exempt = any(part in name for part in self.paramwise_cfg['no_decay'])
            decays = parameter.ndim > 1 and not exempt
            group = groups.setdefault(
                (scale, decays),
                dict(
                    params=[],
                    lr=self.base_lr * scale,
                    weight_decay=(self.base_wd or 0.0) if decays else 0.0,
                ),
            )
            group['params'].append(parameter)
        # The group with the full rate first: it is the one that the log shows.
        params.extend(groups[key] for key in sorted(groups, reverse=True))
