"""Registries of mmmask, children of mmengine's root: `type='mmmask.X'` resolves from any scope."""

from mmengine import registry as root

from . import upstream  # noqa: F401


def _child(name: str, *locations: str) -> root.Registry:
    parent = getattr(root, name)
    return root.Registry(parent.name, parent=parent, scope='mmmask', locations=list(locations))


MODELS = _child('MODELS', 'mmmask.models')
DATASETS = _child('DATASETS', 'mmmask.datasets')
TRANSFORMS = _child('TRANSFORMS', 'mmmask.datasets')
DATA_SAMPLERS = _child('DATA_SAMPLERS', 'mmmask.datasets')
FUNCTIONS = _child('FUNCTIONS', 'mmmask.engine')
HOOKS = _child('HOOKS', 'mmmask.engine')
LOOPS = _child('LOOPS', 'mmmask.engine')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS', 'mmmask.engine')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS', 'mmmask.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS', 'mmmask.engine')
OPTIMIZERS = _child('OPTIMIZERS', 'mmmask.engine')
RUNNERS = _child('RUNNERS', 'mmmask.engine')
VISBACKENDS = _child('VISBACKENDS', 'mmmask.engine')

# The scope needs a child of every registry, or mmengine warns at each lookup that it found none.
EVALUATOR = _child('EVALUATOR')
LOG_PROCESSORS = _child('LOG_PROCESSORS')
METRICS = _child('METRICS')
MODEL_WRAPPERS = _child('MODEL_WRAPPERS')
VISUALIZERS = _child('VISUALIZERS', 'mmmask.engine')
WEIGHT_INITIALIZERS = _child('WEIGHT_INITIALIZERS')
