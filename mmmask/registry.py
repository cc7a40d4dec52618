"""Registries of mmmask: children of mmengine's root, so `type='mmmask.X'` resolves from any scope."""

from mmengine import registry as root


def _child(name: str, *locations: str) -> root.Registry:
    parent = getattr(root, name)
    return root.Registry(parent.name, parent=parent, scope='mmmask', locations=list(locations))


MODELS = _child('MODELS', 'mmmask.models')
DATASETS = _child('DATASETS', 'mmmask.datasets')
TRANSFORMS = _child('TRANSFORMS', 'mmmask.datasets')
HOOKS = _child('HOOKS', 'mmmask.engine')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS', 'mmmask.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS', 'mmmask.engine')
