"""One suite for every config: it loads, it is valid, it fits its name, and its model runs."""

import re
import sys
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch
from conftest import ROOT, errors_but_for_data
from mmengine import registry as root
from mmengine.config import Config
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode

from mmmask.apis import config_checks
from mmmask.apis.config_nodes import find_nodes
from mmmask.models import MaskedImageModel
from mmmask.registry import MODELS

CONFIGS = sorted(
    path
    for path in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in path.relative_to(ROOT).parts
)
PRETRAINING = [path for path in CONFIGS if 'downstream' not in path.parts]
SCOPES = ('mmdet', 'mmseg')
RECIPES = [path for path in PRETRAINING if 'demo' not in path.parts]
NAME = re.compile(
    r'(?P<method>[a-z0-9]+(-[a-z0-9]+)*)_(?P<arch>[a-z]+-[a-z0-9]+)'
    r'(-p(?P<patch>\d+))?(-(?P<target>hog|pixel))?_(?P<gpus>\d+)xb(?P<batch>\d+)(-accum(?P<accumulation>\d+))?-amp-coslr-(?P<epochs>\d+)e'
    r'_(?P<data>[a-z0-9-]+?)(-(?P<pixels>\d+)px)?'
)
ARCHITECTURES = {
    'vit-tiny': (192, 12),
    'vit-small': (384, 12),
    'vit-base': (768, 12),
    'vit-large': (1024, 24),
}


def of(paths):
    return pytest.mark.parametrize('path', paths, ids=lambda path: path.stem)


def first_size(cfg) -> int:
    """Side of the training images."""
    sizes = config_checks.image_sizes(find_nodes(dict(cfg.items()))).values()
    (side,) = {side for size in sizes for side in size}
    return side


def test_there_are_configs_of_every_kind():
    assert {'demo', 'localmim', 'mae'} <= {path.parent.name for path in CONFIGS}


@of(CONFIGS)
def test_training_resumes_exactly(path):
    cfg = Config.fromfile(path)
    if 'train_cfg' in cfg:
        loop, sampler = cfg.train_cfg.type, cfg.train_dataloader.sampler.type
        assert (loop, sampler) in (
            ('mmmask.ResumableTrainLoop', 'mmmask.ResumableSampler'),
            ('mmmask.ResumableIterTrainLoop', 'mmmask.ResumableInfiniteSampler'),
        )
        assert cfg.default_hooks.checkpoint.type == 'mmmask.DurableCheckpointHook'


@of(CONFIGS)
def test_valid_but_for_data_that_is_not_here(path):
    assert errors_but_for_data(Config.fromfile(path)) == []


@of(CONFIGS)
def test_foreign_types_carry_their_scope(path):
    """Without prefix: mmengine's own, PyTorch's, and mmcv's, which has no scope.

    In the scope of mmpretrain a transform without prefix is mmpretrain's.
    """
    cfg = Config.fromfile(path)
    is_mmcvs = {root.MODELS} | ({root.TRANSFORMS} if cfg.default_scope in SCOPES else set())
    for node in find_nodes(dict(cfg.items())):
        name = node.config.get('type')
        if node.built is not None and isinstance(name, str) and '.' not in name:
            package = node.built.__module__.split('.')[0]
            allowed = {'mmengine', 'torch'} | ({'mmcv'} if node.registry in is_mmcvs else set())
            assert package in allowed, f'{node.path}.type={name!r} is of {package}'


@of(RECIPES)
def test_name_says_what_the_config_holds(path):
    """method_arch-patch_gpus x batch-accumulation-schedule_data-pixels, as OpenMMLab names them."""
    cfg, name = Config.fromfile(path), NAME.fullmatch(path.stem)
    assert name, f'{path.stem} is not named as the others'
    assert int(name['batch']) == cfg.train_dataloader.batch_size
    assert int(name['accumulation'] or 1) == cfg.optim_wrapper.get('accumulative_counts', 1)
    assert int(name['epochs']) == cfg.train_cfg.max_epochs
    side = first_size(cfg)
    assert int(name['pixels'] or 224) == side == cfg.model.backbone.get('img_size', side)
    if name['target']:
        targets = dict(hog='mmmask.HOGTarget', pixel='mmmask.PixelTarget')
        assert cfg.model.target_generator.type == targets[name['target']]
    if name['patch']:
        assert int(name['patch']) == cfg.model.backbone.patch_size


@of([path for path in RECIPES if path.stem.endswith('in1k')])
def test_comment_on_the_peak_rate_is_what_the_launcher_computes(path):
    cfg, name = Config.fromfile(path), NAME.fullmatch(path.stem)
    batch = int(name['gpus']) * int(name['batch']) * int(name['accumulation'] or 1)
    peak = cfg.optim_wrapper.optimizer.lr * batch / cfg.auto_scale_lr.base_batch_size
    assert peak_rate_comment(path) == pytest.approx(peak, rel=1e-3)


def peak_rate_comment(path) -> float:
    """The result of the arithmetic in the config, or else in its base."""
    text = path.read_text()
    if found := re.search(r'# peak lr = .* = ([\d.e-]+)', text):
        return float(found[1])
    base = re.search(r"_base_ = '(.*)'", text)
    assert base, f'{path.stem} has no comment "# peak lr = ... = ...", nor has its base'
    return peak_rate_comment(path.parent / base[1])


@of(PRETRAINING)
def test_epochs_are_written_once_and_schedules_follow(path):
    cfg = Config.fromfile(path)
    schedules = cfg.param_scheduler
    for schedule in schedules if isinstance(schedules, list) else [schedules]:
        assert schedule.get('warmup_epochs', 0) < cfg.train_cfg.max_epochs
        assert schedule.get('end', cfg.train_cfg.max_epochs) <= cfg.train_cfg.max_epochs
    last = schedules[-1] if isinstance(schedules, list) else schedules
    assert last.get('end', cfg.train_cfg.max_epochs) == cfg.train_cfg.max_epochs


def copy_fake_tensor(tensor: FakeTensor, memo: dict) -> FakeTensor:
    if id(tensor) not in memo:
        memo[id(tensor)] = tensor.detach().clone().requires_grad_(tensor.requires_grad)
    return memo[id(tensor)]


@contextmanager
def fake_tensors():
    """Tensors with shapes but no memory; functions that remember tensors forget them in between."""
    # A momentum copy deep-copies its tensors, by default together with the mode that they belong to
    # and the storage of numbers (the counters of BatchNorm).
    with (
        patch.object(FakeTensorMode, '__deepcopy__', lambda mode, _: mode, create=True),
        patch.object(FakeTensor, '__deepcopy__', copy_fake_tensor),
    ):
        clear_caches()
        try:
            with FakeTensorMode():
                yield
        finally:
            clear_caches()


def clear_caches():
    for name in [name for name in sys.modules if name.startswith('mmmask.')]:
        for value in vars(sys.modules[name]).values():
            if hasattr(value, 'cache_clear'):
                value.cache_clear()


@pytest.mark.filterwarnings('ignore:Accessing the data pointer of FakeTensor')
@of({str(Config.fromfile(path).model): path for path in PRETRAINING}.values())
def test_model_predicts_its_targets_at_the_size_of_the_config(path):
    """Full-size models, without memory unless shapes depend on which patches are hidden."""
    try:
        with fake_tensors():
            check_model(path)
    except DataDependentOutputException:
        with torch.no_grad():
            check_model(path)


def check_model(path):
    cfg, name = Config.fromfile(path), NAME.fullmatch(path.stem)
    model, side = MODELS.build(cfg.model), first_size(cfg)
    if name and name['arch'] in ARCHITECTURES:
        shape = (model.backbone.embed_dims, len(model.backbone.layers))
        assert shape == ARCHITECTURES[name['arch']]

    images = torch.zeros(2, getattr(model.backbone, 'in_channels', 3), side, side)
    losses = model([images, images], mode='loss')
    assert {loss.shape for name, loss in losses.items() if 'loss' in name} == {()}
    if isinstance(model, MaskedImageModel):
        result = model(images, mode='predict')
        shapes = [prediction.shape for prediction in result.prediction]
        assert shapes == [target.shape for target in result.target]
        num_patches = (side // model.backbone.patch_size) ** 2
        assert result.mask.grid == (side // model.backbone.patch_size,) * 2
        # The reference of LocalMIM's Swin hides one unit more.
        num_hidden = num_patches - result.mask.ids_keep.shape[1]
        assert num_hidden - num_patches * model.masking.ratio == pytest.approx(0.5, abs=0.5)
