"""What a model needs from the hooks and the batches of its training."""

import copy
import difflib
from collections.abc import Iterator
from itertools import count

from torch import nn

from mmmask.engine.hooks import CollapseHook, MomentumUpdateHook, ProgressHook
from mmmask.layers import MomentumCopy
from mmmask.models import ContrastiveHead

from ..config_nodes import Node
from ..config_trial import UnknownValue, on_meta
from .rules import Plan, is_a, is_positive, report, report_key


def check_movement(plan: Plan) -> Iterator[str]:
    """Whatever changes during training has the hook that changes it."""
    model = plan.part('model')
    if not isinstance(model, nn.Module):
        return
    for name, module in model.named_modules():
        hook = None
        if isinstance(module, MomentumCopy):
            hook = MomentumUpdateHook
        elif isinstance(module, UnknownValue):
            continue
        elif hasattr(module, 'set_progress') and getattr(module, 'needs_progress', True):
            hook = ProgressHook
        if hook and not plan.first(hook):
            remedy = f"add dict(type='mmmask.{hook.__name__}') to the hooks"
            yield f'model.{name}: nothing updates this during training; {remedy}'


def check_frozen_stages(plan: Plan) -> Iterator[str]:
    """No network freezes more layers or stages than it has."""
    for node in plan.nodes:
        value = node.config.get('frozen_stages')
        if not is_positive(value) or freezes(node, value) or not freezes(node, 0):
            continue
        most = next(number for number in count() if not freezes(node, number + 1))
        yield report_key(node, 'frozen_stages', f'must be at most {most} for this network')


def freezes(node: Node, number: int) -> bool:
    """Whether a network can be built and trained with so many frozen stages."""
    try:
        with on_meta():
            config = copy.deepcopy(node.config)
            node.registry.build(dict(config, frozen_stages=number)).train()
    except (IndexError, AttributeError):  # as mmpretrain's networks end
        return False
    except Exception:  # another fault, which other checks report
        return True
    return True


def check_comparisons(plan: Plan) -> Iterator[str]:
    """Images that are compared with one another come at least in pairs."""
    model, path = plan.part('model'), 'train_dataloader.batch_size'
    batch = plan.value(path)
    modules = model.modules() if isinstance(model, nn.Module) else ()
    compares = any(isinstance(module, ContrastiveHead) for module in modules)
    if compares and is_positive(batch) and batch < 2:
        yield report(path, batch, 'must be at least 2: images are compared with one another')


def check_observed_modules(plan: Plan) -> Iterator[str]:
    """Hooks observe modules that the model has."""
    model = plan.part('model')
    if not isinstance(model, nn.Module):
        return
    modules = dict(model.named_modules())
    if any(isinstance(module, UnknownValue) for module in modules.values()):
        return
    for node in plan.nodes:
        place = node.argument('module') if is_a(node, CollapseHook) else None
        if isinstance(place, str) and place not in modules:
            close = difflib.get_close_matches(place, modules, n=1, cutoff=0)[0]
            yield report_key(
                node, 'module', f'is not a module of the model: did you mean {close!r}?'
            )


def check_evidence(plan: Plan) -> Iterator[str]:
    """Masks that follow what the model sees have a parser that reads it."""
    kind = getattr(plan.part('model.masking'), 'evidence_kind', None)
    if isinstance(kind, str) and getattr(plan.part('model'), 'parser', kind) is None:
        remedy = "set model.parser=dict(type='mmmask.EncoderParser')"
        yield report_key(
            plan.node('model.masking'), 'type', f'needs {kind} from a parser: {remedy}'
        )


def check_scales(plan: Plan) -> Iterator[str]:
    """Every decoder predicts on the grid of its target."""
    backbone, neck, target = (
        plan.part(f'model.{name}') for name in ('backbone', 'neck', 'target_generator')
    )
    parts = getattr(neck, 'decoders', [neck])
    strides, sizes = getattr(backbone, 'strides', None), getattr(target, 'sizes', None)
    if not isinstance(strides, tuple) or not isinstance(sizes, tuple):
        return
    # A single decoder reads the last feature map.
    scales = zip(strides[-len(parts) :], sizes, parts, strict=False)
    for index, (stride, size, decoder) in enumerate(scales):
        scale = getattr(decoder, 'scale', None)
        if isinstance(scale, int | float) and size * scale != stride:
            yield (
                f'model.target_generator: a target of scale {index} describes {size} px, but its '
                f'decoder in model.neck with scale={scale} predicts {stride / scale:g} px'
            )


CHECKS = (
    check_evidence,
    check_scales,
    check_movement,
    check_frozen_stages,
    check_comparisons,
    check_observed_modules,
)
