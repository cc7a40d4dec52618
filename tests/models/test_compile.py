"""The loss of every method compiles without graph breaks and equals the eager loss."""

import copy
import logging
from types import SimpleNamespace

import pytest
import torch
from conftest import DEMOS, ROOT, build_model
from mmengine.config import Config
from torch._dynamo import lookup_backend
from torch.utils._python_dispatch import TorchDispatchMode

from mmmask import losses
from mmmask.apis.train import set_compilation
from mmmask.engine.compiling import compile_blocks
from mmmask.engine.hooks import CompileBlocksHook
from mmmask.engine.optimizers.processor import processor_autocast
from mmmask.masking import EvolvedHierarchyMask, SharedUnitMask
from mmmask.models import MaskedImageModel, MaskedSwinTransformer

DIGITS = [path for path in DEMOS if 'digits' in path.stem]
digit_configs = pytest.mark.parametrize('config', DIGITS, ids=lambda path: path.stem)
VIEWS = [torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(i)) for i in (0, 1)]


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def late(config, **model):
    """The model of a config and the views that its loss needs, late in training."""
    model = build_model(config, **model)
    for module in model.modules():
        if hasattr(module, 'set_progress'):
            module.set_progress(0.9)  # the masks follow evidence
    return model, VIEWS[: model.num_views]


def take_host_work_out(model, views) -> None:
    """Compute once, outside of the graph, what is by design computed on the host.

    The tree of evolved hierarchical masking checks on the host whether it is complete. The units
    that all images share determine the shapes of a masked Swin encoder, so they are sampled and
    packed on the host. Both are parts of the mask, which is an input of everything else.
    """
    if not isinstance(model, MaskedImageModel):
        return
    if isinstance(model.masking, EvolvedHierarchyMask | SharedUnitMask):
        mask = model.draw_mask(views[0])
        model.draw_mask = lambda images: mask
    if isinstance(model.backbone, MaskedSwinTransformer) and isinstance(
        model.masking, SharedUnitMask
    ):
        groups = model.backbone.arrange(mask, mask.grid, views[0].device)
        model.backbone.arrange = lambda *arguments: groups


def run(model, loss, views) -> tuple[dict, dict]:
    """Losses and gradients with fixed random numbers."""
    torch.manual_seed(1)
    result = loss(*views)
    sum(value for name, value in result.items() if 'loss' in name).backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: value.detach() for name, value in result.items()}, grads


@digit_configs
def test_the_loss_is_one_graph_that_equals_eager(config):
    model, views = late(config)
    take_host_work_out(model, views)
    eager = copy.deepcopy(model)  # also copies the statistics of BatchNorm
    expected = run(eager, eager.loss, views)
    compiled = torch.compile(model.loss, backend='aot_eager', fullgraph=True)
    result = run(model, compiled, views)
    for actual, wanted in zip(result, expected, strict=True):
        assert actual.keys() == wanted.keys()
        torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', ['ehm_vit-tiny', 'localmim_swin-tiny'])
def test_host_work_stays_outside_of_the_graph(name):
    """Without any help, the loss still compiles piece by piece, with the same result."""
    model, views = late(f'demo/{name}_digits.py')
    expected, _ = run(model, model.loss, views)
    actual, _ = run(model, torch.compile(model.loss, backend='aot_eager'), views)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def test_blocks_are_compiled_in_place():
    model, views = late('demo/localmim_vit-tiny_digits.py')
    names = list(model.state_dict())
    expected = run(model, model.loss, views)
    expected = expected[0], {name: grad.clone() for name, grad in expected[1].items()}
    model.zero_grad()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return lookup_backend('aot_eager')(graph, inputs)

    num_blocks = compile_blocks(model, backend=backend, fullgraph=True)
    result = run(model, model.loss, views)
    assert num_blocks == len(model.backbone.layers) + sum(
        len(decoder.layers) for decoder in model.neck.decoders
    )
    assert len(graphs) == 2  # a block of the encoder and a block of a decoder
    assert list(model.state_dict()) == names
    for actual, wanted in zip(result, expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-5)


def test_blocks_of_a_masked_swin_are_compiled_for_every_mask():
    model, views = late('demo/localmim_swin-tiny_digits.py')
    eager, graphs = copy.deepcopy(model), []

    def backend(graph, inputs):
        graphs.append(graph)
        return lookup_backend('aot_eager')(graph, inputs)

    compile_blocks(model, backend=backend, fullgraph=True)
    numbers = []
    for seed in range(6):  # with windows that are packed in several ways
        results = []
        for one in (eager, model):
            one.zero_grad()
            torch.manual_seed(seed)
            mask = model.masking(4, (8, 8))
            one.draw_mask = lambda images, mask=mask: mask
            results.append(run(one, one.loss, views))
        for actual, wanted in zip(results[1], results[0], strict=True):
            torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-5)
        numbers.append(len(graphs))
    assert numbers[-1] == numbers[-3]


@pytest.mark.parametrize(
    ('compiling', 'has_gpu', 'scope', 'expected'),
    [
        ('auto', True, 'mmmask', [False]),
        ('auto', False, 'mmmask', []),
        ('auto', True, 'mmdet', []),
        ('off', True, 'mmmask', []),
        ('on', False, 'mmseg', [True]),
    ],
)
def test_when_blocks_are_compiled(monkeypatch, compiling, has_gpu, scope, expected):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: has_gpu)
    cfg = Config(dict(default_scope=scope))
    set_compilation(cfg, compiling)
    assert [hook['required'] for hook in cfg.get('custom_hooks', [])] == expected


def test_a_model_without_blocks_cannot_be_compiled():
    runner = SimpleNamespace(model=torch.nn.Linear(2, 2), logger=logging.getLogger())
    CompileBlocksHook().before_train(runner)
    with pytest.raises(ValueError, match="compile='on' needs transformer blocks"):
        CompileBlocksHook(required=True).before_train(runner)


def test_bf16_on_processors_compiles():
    """The mode that computes attention in fp32 is part of the graph."""
    model, views = late('demo/mae_vit-tiny_digits.py')
    with processor_autocast():
        expected = run(model, model.loss, views)
    expected = expected[0], {name: grad.clone() for name, grad in expected[1].items()}
    model.zero_grad()
    compile_blocks(model, backend='aot_eager', fullgraph=True)
    with processor_autocast():
        result = run(model, model.loss, views)
    for actual, wanted in zip(result, expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-2, atol=1e-3)


def test_checkpointed_blocks_have_the_same_loss_and_gradients():
    config, results = 'demo/mae_vit-tiny_digits.py', []
    backbone = Config.fromfile(ROOT / 'configs' / config).model.backbone.to_dict()
    for with_cp in (False, True):
        torch.manual_seed(0)
        model, views = late(config, backbone=backbone | dict(with_cp=with_cp))
        results.append(run(model, model.loss, views))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    copied = copy.deepcopy(model.backbone)
    assert copied.layers[0].forward.args[0].__self__ is copied.layers[0]


# Operators that wait for the device: they give the host a value, or a shape that depends on one.
aten = torch.ops.aten
WAITING = {
    aten._local_scalar_dense,  # item, int(tensor), if tensor
    aten.equal,
    aten.nonzero,
    aten.masked_select,
    aten._unique,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten.repeat_interleave,  # with a tensor of repeats
}
INDEXING = {aten.index, aten.index_put, aten.index_put_}


class NoWaiting(TorchDispatchMode):
    """Raises RuntimeError for every operator that waits for the device, forward and backward."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        operator = func.overloadpacket
        by_mask = operator in INDEXING and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if by_mask or operator in WAITING:
            raise RuntimeError(f'{func} waits for the device.')
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    'wait',
    [
        lambda tensor: tensor.sum().item(),
        lambda tensor: int(tensor.max()),
        lambda tensor: tensor if tensor.any() else None,
        lambda tensor: tensor.nonzero(),
        lambda tensor: tensor[tensor > 0],
        lambda tensor: tensor.masked_select(tensor > 0),
        lambda tensor: tensor.unique(),
        lambda tensor: tensor.clone().__setitem__(tensor > 0, torch.zeros(2)),
    ],
)
def test_the_guard_finds_what_waits(wait):
    with NoWaiting(), pytest.raises(RuntimeError, match='waits for the device'):
        wait(torch.tensor([0.0, 1.0, 2.0]))


@digit_configs
def test_a_step_does_not_wait_for_the_device(config, monkeypatch):
    # On CPUs alone, one_hot reads the smallest and largest of its arguments.
    monkeypatch.setattr(losses.F, 'one_hot', compare_with_classes)
    model, views = late(config)
    if isinstance(getattr(model, 'masking', None), SharedUnitMask):
        take_host_work_out(model, views)
    with NoWaiting():
        run(model, model.loss, views)


def compare_with_classes(index: torch.Tensor, num_classes: int) -> torch.Tensor:
    return (index.unsqueeze(-1) == torch.arange(num_classes)).long()
