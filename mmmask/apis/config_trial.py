"""A trial of a config: its components are built on the meta device, without memory and data.

Every rule on the arguments of one class is a ValueError in its constructor. A trial calls the
constructors and collects these errors, so a class is covered as soon as it is registered.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from mmengine import registry as root
from mmengine.registry import Registry
from torch import nn

from mmmask.models import building

from .config_nodes import CONSUMED, REQUIRED, SUPPLIED, Node, parameters

# Registries whose classes read no data when they are built. Weights are loaded by init_weights.
BUILT = (root.MODELS, root.TRANSFORMS, root.HOOKS, root.PARAM_SCHEDULERS)
# Packages whose classes are built only as parts of other components.
FOREIGN = ('mmcv', 'mmdet', 'mmengine', 'mmpretrain', 'mmseg', 'torch', 'torchvision')


@contextmanager
def on_meta() -> Iterator[None]:
    """Build on the meta device, but give numbers to mmpretrain, which reads drop rates."""
    linspace = partial(torch.linspace, device='cpu')
    with torch.device('meta'), patch.object(torch, 'linspace', linspace):
        yield


class UnknownValue(nn.Module):
    """Stands for a component that could not be built, and for everything it would report.

    A rule that depends on it is skipped: it raises a TypeError, or names it in its message.
    """

    def __repr__(self) -> str:
        return type(self).__name__

    def __getattr__(self, name: str) -> 'UnknownValue':
        if name.startswith('__'):
            raise AttributeError(name)
        return self

    def __deepcopy__(self, memo) -> 'UnknownValue':
        return self

    def __call__(self, *args, **kwargs) -> 'UnknownValue':
        return self

    def _refuse(self, *args):
        raise TypeError(repr(self))

    __eq__ = __ne__ = __bool__ = _refuse
    __hash__ = nn.Module.__hash__


UNKNOWN = UnknownValue()


def _is_own(node: Node) -> bool:
    package = getattr(node.built, '__module__', '').partition('.')[0]
    return node.built is not None and node.registry in BUILT and package not in FOREIGN


class Trial:
    """Build the nodes of a config whose classes are mmmask's or the user's.

    Args:
        nodes: of the config, outer before inner.
        max_epochs: length of the run, where schedules end.

    Attributes:
        built: what was built at each path, ``UNKNOWN`` if that failed.
        tried: paths of the components whose arguments the trial has checked, and of those that
            the components around them leave out.
        errors: one line each, with the path of the component that raised it.
    """

    def __init__(self, nodes: Sequence[Node], max_epochs: int | None = None) -> None:
        self.nodes = {id(node.config): node for node in reversed(nodes)}
        self.max_epochs = max_epochs
        self.built: dict[str, Any] = {}
        self.tried: set[str] = set()
        self.errors: list[str] = []
        registries = {node.path: node.registry for node in nodes}
        with self.collecting():
            for node in nodes:
                owners = {
                    path: built
                    for path, built in self.built.items()
                    if f'{node.path}.'.startswith(f'{path}.') and registries[path] is node.registry
                }
                if owners or _is_own(node):
                    self.tried.add(node.path)
                # What a component was built without is not used.
                is_open = all(built is UNKNOWN for built in owners.values())
                if _is_own(node) and is_open and node.path not in owners:
                    # An owner that failed might have chosen other values than the defaults.
                    takes = parameters(node.built).defaults if owners else ()
                    node.registry.build(node.config, default_args=dict.fromkeys(takes, UNKNOWN))

    def try_images(self, sizes: dict[str, tuple[int, int]]) -> None:
        """Collect what refuses images of these sizes, named by the key that sets them."""
        backbone, masking, target = (
            self.built.get(f'model.{name}', UNKNOWN)
            for name in ('backbone', 'masking', 'target_generator')
        )
        on_grid = [
            part
            for path, part in self.built.items()
            if hasattr(type(part), 'check_grid')
            and not any(error.startswith(path) for error in self.errors)
        ]
        for size, path in {size: path for path, size in reversed(sizes.items())}.items():
            place = f'{path}={size}'
            with self.collecting(), torch.no_grad():
                images = torch.empty(1, 3, *size)
                with self.watch(place, ValueError):
                    target(images)
                with self.watch(place, ValueError):
                    grid = backbone.grid(images)
                    for part in on_grid:
                        with self.watch(place, ValueError):
                            part.check_grid(grid)
                    if not masking.needs_evidence:
                        masking(1, grid, images.device)

    def try_optimizer(self, wrapper: dict | None) -> None:
        """Collect what the constructor of parameter groups refuses, as mmengine builds it."""
        if isinstance(wrapper, dict) and 'optimizer' in wrapper:
            with self.collecting(), self.watch('optim_wrapper'):
                root.OPTIM_WRAPPER_CONSTRUCTORS.build(
                    dict(
                        type=wrapper.get('constructor', 'DefaultOptimWrapperConstructor'),
                        optim_wrapper_cfg=wrapper,
                        paramwise_cfg=wrapper.get('paramwise_cfg'),
                    )
                )

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Let components be built on the meta device, and collect what constructors refuse."""
        build, check_derived = Registry.build, building.check_derived

        def build_and_collect(registry, config, *args, **kwargs):
            node = self.nodes.get(id(config))
            if registry.root is root.DATASETS or (node and not node.built):
                return UNKNOWN
            if node is None:  # a config that a constructor has made up
                return build(registry, config, *args, **kwargs)
            config = self._complete(node, kwargs.pop('default_args', None) or {})
            self.built[node.path] = UNKNOWN
            with self.watch(node.path):
                self.built[node.path] = build(registry, config, *args, **kwargs)
            return self.built[node.path]

        def check_and_collect(config, name, derived):
            node = self.nodes.get(id(config))
            with self.watch(node.path) if node else nullcontext():
                check_derived(config, name, derived)

        with (
            on_meta(),
            patch.object(Registry, 'build', build_and_collect),
            patch.object(building, 'check_derived', check_and_collect),
        ):
            yield

    def _complete(self, node: Node, defaults: dict) -> dict:
        """The config without unknown keys, and with unknown values for what is missing."""
        takes, is_closed = parameters(node.built)
        left_out = CONSUMED.get(node.registry, ())
        stated = {
            key: value
            for key, value in node.config.items()
            if key in takes or key in ('type', '_scope_') or not (is_closed or key in left_out)
        }
        if node.registry is root.PARAM_SCHEDULERS and node.argument('by_epoch') is not False:
            defaults = dict(end=self.max_epochs) | defaults if self.max_epochs else defaults
        needed = [key for key, default in takes.items() if default is REQUIRED]
        missing = [key for key in needed if key not in stated | defaults]
        self.errors += [
            f'{node.path}.{key} is missing: {node.name} requires it'
            for key in missing
            if key not in SUPPLIED.get(node.registry, ())
        ]
        return dict.fromkeys(missing, UNKNOWN) | defaults | stated

    @contextmanager
    def watch(self, path: str, kinds=(ValueError, TypeError, AssertionError)) -> Iterator[None]:
        """Collect errors of some kinds, by default those that come from wrong arguments.

        What follows from an unknown value is skipped, and so is what the meta device or this
        machine cannot do: it appears when the run starts, if at all.
        """
        try:
            yield
        except kinds as error:
            # mmengine before 0.10.8 names the class and the file first.
            message = re.sub(r'^class `\w+` in \S+: ', '', str(error)).removesuffix('.')
            is_key = '=' not in path and re.match(r'\w+(\.\w+)*(=| is missing)', message)
            if message and repr(UNKNOWN) not in message:
                self.errors.append(f'{path}{"." if is_key else ": "}{message}')
        except Exception:
            pass
