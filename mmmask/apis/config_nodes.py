"""The components that mmengine builds from a config, and the arguments that each one accepts."""

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

from mmengine import registry as root
from mmengine.registry import DefaultScope, Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

REQUIRED = inspect.Parameter.empty


class Parameters(NamedTuple):
    """Names and defaults of arguments; ``closed`` if no other names are accepted."""

    defaults: dict[str, Any]
    closed: bool = True


class Node(NamedTuple):
    """A dict that mmengine builds a component from.

    ``built`` is the class or function. It is None if the type is missing, or if it is in none of
    the registries ``candidates``. ``registry`` is the root of the registry that holds it.
    """

    path: str
    config: dict
    registry: Registry | None
    built: Callable | Parameters | None
    candidates: tuple[Registry, ...] = ()

    @property
    def name(self) -> str:
        """What messages call it."""
        name = self.config.get('type', self.path)
        return getattr(name, '__name__', str(name))

    def argument(self, name: str) -> Any:
        """The value that the config gives, else the default of the signature, else None."""
        default = parameters(self.built).defaults.get(name) if self.built else None
        value = self.config.get(name, default)
        return None if value is REQUIRED else value


@functools.cache
def _parameters(built: Callable) -> Parameters:
    if not inspect.isclass(built):
        return _split(inspect.signature(built).parameters.values())[0]
    return _of_constructors([base for base in built.__mro__ if '__init__' in vars(base)])


def parameters(built: Callable | Parameters) -> Parameters:
    """The arguments of a class or function, with those that it passes on by ``**kwargs``."""
    return built if isinstance(built, Parameters) else _parameters(built)


def _of_constructors(classes: list[type]) -> Parameters:
    """The arguments of the first class, and those that it passes to the next ones."""
    first, *others = classes
    if first is object:
        return Parameters({})
    own, keywords = _split(list(inspect.signature(first.__init__).parameters.values())[1:])
    call = None if own.closed else _parent_call(first.__init__, keywords)
    if call is None:  # no keywords, or they cannot be followed
        return own
    inherited = _of_constructors(others)
    num_positional = sum(not isinstance(argument, ast.Starred) for argument in call.args)
    given = {*list(inherited.defaults)[:num_positional], *(word.arg for word in call.keywords)}
    passed_on = {name: value for name, value in inherited.defaults.items() if name not in given}
    # In the order of the signature: a child may pass the first ones by position.
    return Parameters(own.defaults | passed_on | own.defaults, inherited.closed)


def _split(signature) -> tuple[Parameters, str | None]:
    """The named parameters, and the name of ``**kwargs``, if any."""
    named, keywords = {}, None
    for parameter in signature:
        if parameter.kind == parameter.VAR_KEYWORD:
            keywords = parameter.name
        elif parameter.kind != parameter.VAR_POSITIONAL:
            named[parameter.name] = parameter.default
    return Parameters(named, keywords is None), keywords


def _parent_call(constructor: Callable, keywords: str) -> ast.Call | None:
    """The call ``super().__init__(..., **keywords)`` in the source of a constructor."""
    source = ast.parse(textwrap.dedent(inspect.getsource(constructor)))
    for call in ast.walk(source):
        if isinstance(call, ast.Call) and ast.unparse(call.func).startswith('super('):
            spread = [ast.unparse(word.value) for word in call.keywords if word.arg is None]
            if keywords in spread:
                return call
    return None


DATALOADER = Parameters(
    parameters(DataLoader).defaults
    | dict(sampler=REQUIRED, num_batch_per_epoch=None, disable_subprocess_warning=None)
)
ENVIRONMENT = Parameters(
    dict(cudnn_benchmark=None, mp_cfg=None, dist_cfg=None, resource_limit=None)
)
# Top-level keys: the registry that they are built from, and the type of a dict that states none
# (REQUIRED if it must).
BUILT = dict(
    model=(root.MODELS, REQUIRED),
    data_preprocessor=(root.MODELS, None),
    train_dataloader=(None, DATALOADER),
    val_dataloader=(None, DATALOADER),
    test_dataloader=(None, DATALOADER),
    train_cfg=(root.LOOPS, 'EpochBasedTrainLoop'),
    val_cfg=(root.LOOPS, 'ValLoop'),
    test_cfg=(root.LOOPS, 'TestLoop'),
    model_wrapper_cfg=(root.MODEL_WRAPPERS, 'MMDistributedDataParallel'),
    optim_wrapper=(root.OPTIM_WRAPPERS, 'OptimWrapper'),
    param_scheduler=(root.PARAM_SCHEDULERS, None),
    val_evaluator=(root.METRICS, None),
    test_evaluator=(root.METRICS, None),
    default_hooks=(root.HOOKS, None),
    custom_hooks=(root.HOOKS, REQUIRED),
    visualizer=(root.VISUALIZERS, 'Visualizer'),
    vis_backends=(root.VISBACKENDS, REQUIRED),
    log_processor=(root.LOG_PROCESSORS, 'LogProcessor'),
    randomness=(None, Runner.set_randomness),
    env_cfg=(None, ENVIRONMENT),
    auto_scale_lr=(None, Parameters(dict(base_batch_size=REQUIRED, enable=None))),
)
# Keys of components of one registry that hold components of another. Other keys inherit.
CHILDREN = {
    None: dict(
        dataset=root.DATASETS,
        sampler=root.DATA_SAMPLERS,
        batch_sampler=root.DATA_SAMPLERS,
        collate_fn=root.FUNCTIONS,
        worker_init_fn=root.FUNCTIONS,
    ),
    root.DATASETS: dict(dataset=root.DATASETS, datasets=root.DATASETS, pipeline=root.TRANSFORMS),
    root.MODELS: dict(init_cfg=root.WEIGHT_INITIALIZERS),
    root.OPTIM_WRAPPERS: dict(optimizer=root.OPTIMIZERS),
    root.VISUALIZERS: dict(vis_backends=root.VISBACKENDS),
}
# Arguments that mmengine adds, and keys that it reads itself and does not pass on.
SUPPLIED = {
    None: {'self', 'seed'},
    root.DATA_SAMPLERS: {'dataset', 'sampler', 'batch_size'},
    root.LOOPS: {'runner', 'dataloader', 'evaluator'},
    root.MODEL_WRAPPERS: {'module'},
    root.OPTIMIZERS: {'params'},
    root.PARAM_SCHEDULERS: {'optimizer'},
    root.VISBACKENDS: {'save_dir'},
}
CONSUMED = {
    root.HOOKS: {'priority'},
    root.LOOPS: {'by_epoch'},
    root.OPTIM_WRAPPERS: {'constructor', 'paramwise_cfg'},
    root.PARAM_SCHEDULERS: {'convert_to_iter_based'},
    root.TRANSFORMS: {'magnitude_key'},
    root.WEIGHT_INITIALIZERS: {'override', 'name'},
}


def find_nodes(cfg: dict) -> list[Node]:
    """Everything that mmengine builds from a config, outer before inner.

    Raises:
        ImportError: if ``default_scope`` is not a package with registries.
    """
    scope = cfg.get('default_scope') or 'mmmask'
    import_module(f'{scope}.registry')
    with DefaultScope.overwrite_default_scope(scope):
        return [
            node
            for key, (registry, default) in BUILT.items()
            for node in _walk(cfg.get(key), key, registry, True, default)
        ]


def _walk(value, path: str, registry, exact: bool, default=None) -> Iterator[Node]:
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _walk(item, f'{path}.{index}', registry, exact, default)
    if not isinstance(value, dict):
        return
    if value.get('by_epoch') is False and default == 'EpochBasedTrainLoop':
        default = 'IterBasedTrainLoop'
    with DefaultScope.overwrite_default_scope(value.get('_scope_')):
        name = value.get('type', default)
        if name is not None:
            candidates = _candidates(registry, exact)
            built, registry = _resolve(name, candidates) or (None, registry)
            yield Node(path, value, registry, built, candidates)
        children = CHILDREN.get(registry, {}) if name else {}
        for key, child in value.items():
            if key in children:
                yield from _walk(child, f'{path}.{key}', children[key], True, REQUIRED)
            else:
                yield from _walk(child, f'{path}.{key}', registry, exact and not name)


def _candidates(registry: Registry | None, exact: bool) -> tuple[Registry, ...]:
    """The registries that may hold a type: any, where keys inherit, as hooks contain data sets."""
    if exact:
        return (registry,)
    scope = DefaultScope.get_current_instance().scope_name
    scoped = vars(import_module(f'{scope}.registry')).values()
    everywhere = [registry, *vars(root).values(), *scoped]  # some packages have more than mmengine
    return tuple(r for r in everywhere if isinstance(r, Registry) and r.parent is None)


def _resolve(name, candidates: tuple[Registry, ...]):
    """The class of a type in the default scope, and the root registry that holds it."""
    if not isinstance(name, str):
        is_known = name is not REQUIRED and (callable(name) or isinstance(name, Parameters))
        return (name, candidates[0]) if is_known else None
    scope = DefaultScope.get_current_instance().scope_name
    for candidate in candidates:
        try:
            built = candidate.children.get(scope, candidate).get(name)
        except RuntimeError:  # how mmengine reports some unknown types
            continue
        if callable(built):
            return built, candidate
    return None


def known_types(registries: tuple[Registry, ...]) -> dict[str, str]:
    """Names of all types, without and with the scope prefix that they need."""
    for scope in ('mmmask', 'mmpretrain'):
        import_module(f'{scope}.registry')
    names = {}
    for registry in registries:
        names |= {name: name for name in registry.module_dict}
        for child in registry.children.values():
            child.import_from_location()
            names |= {name: f'{child.scope}.{name}' for name in child.module_dict}
    return names
