"""Classification and retrieval downstream: every backbone, and the values of its recipe."""

import inspect
import re
from itertools import product

import pytest
import torch
from conftest import ROOT, with_options
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope, init_default_scope
from mmpretrain.datasets import CUB, FGVCAircraft, StanfordCars
from PIL import Image

from mmmask.apis.own_network import build_around
from mmmask.apis.train import build_runner, load_config, scale_learning_rate
from mmmask.datasets import COPYDAYS_BLOCKS
from mmmask.registry import MODELS

DOWNSTREAM = ROOT / 'configs/downstream'
# Width of the features and parameters of the classifier of 1000 classes.
BACKBONES = {
    'vit-small-p16': (384, 22_050_664),
    'vit-base-p16': (768, 86_567_656),
    'vit-large-p16': (1024, 304_326_632),
    'swin-base': (1024, 87_768_224),
    'swin-large': (1536, 196_794_556),
    'resnet-50': (2048, 25_557_032),
}
NETWORKS = {
    'vit-small-p16': dict(type='VisionTransformer', arch='deit-small'),
    'vit-base-p16': dict(type='VisionTransformer', arch='base'),
    'vit-large-p16': dict(type='VisionTransformer', arch='large'),
    'swin-base': dict(type='SwinTransformer', arch='base'),
    'swin-large': dict(type='SwinTransformer', arch='large'),
    'resnet-50': dict(type='ResNet', depth=50),
}
PUBLISHED = {
    ('vit-large-p16', 'finetune'): 'vit-large-p16_finetune_8xb128-amp-coslr-50e',
    ('swin-base', 'finetune'): 'swin-base_localmim-100e_8xb128-amp-coslr-100e',
    ('swin-large', 'finetune'): 'swin-large_localmim-hog-800e_8xb128-accum2-amp-coslr-100e',
    ('resnet-50', 'linear'): 'resnet-50_linear_8xb512-amp-coslr-90e',
}
DOCUMENT = (ROOT / 'docs/downstream.md').read_text()
backbones = pytest.mark.parametrize('backbone', BACKBONES)


@pytest.fixture(autouse=True)
def scope():
    before = DefaultScope.get_current_instance()
    init_default_scope('mmpretrain')
    yield
    init_default_scope(before.scope_name if before else 'mmmask')


def find(backbone, protocol) -> Config:
    if (backbone, protocol) in PUBLISHED:
        name = PUBLISHED[backbone, protocol]
        return Config.fromfile(DOWNSTREAM / f'imagenet/{name}_in1k.py')
    if protocol == 'finetune':
        return Config.fromfile(DOWNSTREAM / f'folder/{backbone}_finetune.py')
    return around(DOWNSTREAM / f'folder/{protocol}.py', backbone)


def around(path, backbone) -> Config:
    cfg = Config.fromfile(path)
    build_around(cfg, NETWORKS[backbone], cfg.own_data.task, longest=None)
    return cfg


def optimizer_of(cfg, model):
    return build_optim_wrapper(model, cfg.optim_wrapper).optimizer


@backbones
def test_fine_tuning(backbone, on_meta):
    cfg = find(backbone, 'finetune')
    model = on_meta(cfg.model)
    assert sum(p.numel() for p in model.parameters()) == BACKBONES[backbone][1]
    assert all(p.requires_grad for p in model.parameters())
    if backbone.startswith('vit'):
        large = backbone == 'vit-large-p16'
        assert cfg.train_cfg.max_epochs == (50 if large else 100)
        rate = 4e-3 if large else 2e-3
        decay = 0.65 if backbone == 'vit-base-p16' else 0.75
        assert cfg.train_dataloader.batch_size * 8 == 1024
        assert (cfg.param_scheduler.warmup_epochs, cfg.param_scheduler.eta_min) == (5, 1e-6)
        assert cfg.model.backbone.drop_path_rate == (0.2 if large else 0.1)
        rates = {g['lr'] for g in optimizer_of(cfg, model).param_groups}
        depth = 24 if large else 12
        assert max(rates) == rate and min(rates) == pytest.approx(rate * decay ** (depth + 1))
        assert [augment.type for augment in cfg.model.train_cfg.augments] == [
            'mmpretrain.Mixup', 'mmpretrain.CutMix'
        ]  # fmt: skip
    elif backbone == 'resnet-50':
        scale_learning_rate(cfg, world_size=8)
        assert cfg.optim_wrapper.optimizer == dict(
            type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4
        )
        assert cfg.train_cfg.max_epochs == 100 and cfg.param_scheduler.warmup_epochs == 0


@backbones
def test_linear_probe(backbone, on_meta):
    cfg, (width, _) = find(backbone, 'linear'), BACKBONES[backbone]
    model = on_meta(cfg.model).train()
    trained = {name: tuple(p.shape) for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {'head.fc.weight': (1000, width), 'head.fc.bias': (1000,)}
    norms = [m for m in model.neck.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    resnet = backbone == 'resnet-50'
    assert [(norm.num_features, norm.affine) for norm in norms] == [(width, False)] * (not resnet)
    scale_learning_rate(cfg, world_size=8)
    assert cfg.optim_wrapper.optimizer == dict(
        type='mmmask.LARS', lr=1.6 if resnet else 6.4, momentum=0.9, weight_decay=0.0
    )
    assert cfg.train_cfg.max_epochs == 90
    assert cfg.param_scheduler.warmup_epochs == (0 if resnet else 10)
    assert [step.type.split('.')[-1] for step in cfg.train_dataloader.dataset.pipeline] == [
        'RandomResizedCrop' if resnet else 'ClippedResizedCrop', 'RandomFlip', 'PackInputs'
    ]  # fmt: skip
    # MAE's LARS adapts the rate of tensors of two or more dimensions; SimSiam's that of all.
    excluded = {
        tuple(p.shape)
        for group in optimizer_of(cfg, model).param_groups
        for p in group['params']
        if group.get('lars_exclude')
    }
    assert excluded == (set() if resnet else {(1000,)})
    assert not any(m.training for m in model.backbone.modules() if 'BatchNorm' in type(m).__name__)


def test_the_first_step_of_a_linear_probe():
    """By hand: the rate of weights is multiplied by 0.001·|w|/|g|, that of biases is not."""
    cfg = find('vit-base-p16', 'linear')
    model = torch.nn.Module()
    model.fc = torch.nn.Linear(2, 1)
    with torch.no_grad():
        model.fc.weight.copy_(torch.tensor([[3.0, 4.0]]))
        model.fc.bias.fill_(2.0)
    optimizer = optimizer_of(cfg, model)
    model.fc.weight.grad = torch.tensor([[0.6, 0.8]])
    model.fc.bias.grad = torch.tensor([0.5])
    optimizer.step()
    # |w| / |g| = 5 / 1, so the weights move by 0.1 * 0.001 * 5 of the gradient.
    expected = torch.tensor([[3 - 5e-4 * 0.6, 4 - 5e-4 * 0.8]])
    torch.testing.assert_close(model.fc.weight.data, expected, rtol=0, atol=1e-7)
    assert model.fc.bias.item() == pytest.approx(2 - 0.1 * 0.5)


@backbones
def test_knn(backbone, on_meta):
    cfg = find(backbone, 'knn')
    assert (cfg.test_cfg.type, list(cfg.test_cfg.k), cfg.test_cfg.temperature) == (
        'mmmask.KNNTestLoop', [20, 200], 0.07
    )  # fmt: skip
    bank, queries = cfg.test_cfg.bank, cfg.test_dataloader.dataset
    assert (bank.source, bank.prefix) == ('data/imagenet', 'train')
    assert (queries.source, queries.prefix) == ('data/imagenet', 'val')
    assert cfg.test_cfg.bank.pipeline == cfg.test_dataloader.dataset.pipeline
    model = on_meta(cfg.model)
    assert not model.with_head and not model.with_neck
    classifier = on_meta(find(backbone, 'finetune').model)
    optional = {'ln1.weight', 'ln1.bias', 'ln2.weight', 'ln2.bias'}
    names = [set(network.backbone.state_dict()) - optional for network in (model, classifier)]
    assert names[0] == names[1]  # the same checkpoint fills both


@pytest.mark.parametrize('percent', [1, 10])
@backbones
def test_semi_supervised(backbone, percent, on_meta):
    full = find(backbone, 'finetune')
    if backbone != 'resnet-50':
        cfg = find(backbone, 'finetune')
        (option,) = set(re.findall(rf'--cfg-options (\S+subset={percent / 100})$', DOCUMENT, re.M))
        cfg = with_options(cfg, option)
        assert cfg.train_dataloader.dataset.pop('subset') == percent / 100
        assert cfg.to_dict() == full.to_dict()
        return
    name = f'imagenet/resnet-50_finetune-{percent}percent_8xb32-amp-coslr-20e_in1k.py'
    assert name in DOCUMENT
    cfg = Config.fromfile(DOWNSTREAM / name)
    assert cfg.train_dataloader.dataset.subset == percent / 100
    assert cfg.val_dataloader == full.val_dataloader
    assert cfg.train_cfg.max_epochs == 20 and 'auto_scale_lr' not in scaled(cfg)
    groups = optimizer_of(cfg, model := on_meta(cfg.model)).param_groups
    rates = {id(p): group['lr'] for group in groups for p in group['params']}
    expected = {1: (0.02, 5), 10: (0.01, 0.2)}[percent]
    assert rates[id(model.backbone.conv1.weight)] == expected[0]
    assert rates[id(model.head.fc.weight)] == pytest.approx(expected[1])


def scaled(cfg):
    before = cfg.optim_wrapper.optimizer.lr
    scale_learning_rate(cfg, world_size=8)
    assert cfg.optim_wrapper.optimizer.lr == before  # published rates are absolute
    return cfg


@pytest.mark.parametrize(
    ('backbone', 'protocol'), list(product(BACKBONES, ('finetune', 'linear', 'knn', 'probe')))
)
def test_any_class_folder(backbone, protocol, monkeypatch):
    base = find(backbone, protocol)
    monkeypatch.setenv('DATA', '/some/flowers.zip')
    monkeypatch.setenv('NUM_CLASSES', '17')
    cfg = find(backbone, protocol)
    if protocol in ('knn', 'probe'):
        loop = dict(knn='KNNTestLoop', probe='LinearProbeTestLoop')[protocol]
        assert cfg.test_cfg.type == f'mmmask.{loop}'
        sources = [(cfg.test_cfg.bank, 'train'), (cfg.test_dataloader.dataset, 'val')]
        assert cfg.model == base.model
    else:
        sources = [(cfg.train_dataloader.dataset, 'train'), (cfg.val_dataloader.dataset, 'val')]
        assert base.model.head.num_classes == base.model.data_preprocessor.num_classes == 1000
        assert cfg.model.head.num_classes == cfg.model.data_preprocessor.num_classes == 17
        assert cfg.optim_wrapper == base.optim_wrapper
        assert cfg.param_scheduler == base.param_scheduler
    for dataset, prefix in sources:
        assert (dataset.source, dataset.prefix) == ('/some/flowers.zip', prefix)
        assert dataset.with_label


@pytest.mark.parametrize('number', [2, 5, 6])
def test_top_5_is_measured_where_there_are_more_classes(number, monkeypatch):
    monkeypatch.setenv('NUM_CLASSES', str(number))
    assert find('vit-base-p16', 'linear').val_evaluator.topk == ((1, 5) if number > 5 else (1,))


@pytest.mark.parametrize(
    'published', ['finetune_8xb128-amp-coslr-100e', 'linear_8xb2048-amp-coslr-90e']
)
def test_published_recipes_have_two_names(published):
    long = Config.fromfile(DOWNSTREAM / f'imagenet/vit-base-p16_{published}_in1k.py')
    short = DOWNSTREAM / f'folder/vit-base-p16_{published.split("_")[0]}.py'
    assert Config.fromfile(short).to_dict() == long.to_dict()


@pytest.mark.parametrize(
    ('name', 'path'),
    [(name, f'folder/vit-base-p16_{name}') for name in ('knn', 'probe', 'linear')]
    + [(name, f'retrieval/vit-base-p16_{name}') for name in ('copydays-320px', 'duplicates-320px')],
)
def test_a_vit_base_of_a_checkpoint_is_tested_as_its_own_config_says(name, path, on_meta):
    named = Config.fromfile(DOWNSTREAM / f'{path}.py')
    found = around((DOWNSTREAM / path).parent / f'{name}.py', 'vit-base-p16')
    networks = [str(on_meta(cfg.pop('model'))) for cfg in (named, found)]
    assert networks[0] == networks[1]
    assert found.pop('own_data') and not found.pop('find_unused_parameters', False)
    assert found.to_dict() == named.to_dict()


@pytest.mark.parametrize(
    ('name', 'dataset', 'split'),
    [
        ('cub200', CUB, 'train'),
        ('cars', StanfordCars, 'train'),
        ('aircraft', FGVCAircraft, 'trainval'),
    ],
)
def test_fine_grained(name, dataset, split, on_meta):
    (path,) = (DOWNSTREAM / 'fine_grained').glob(f'*_{name}-224px.py')
    cfg = Config.fromfile(path)
    train, test = cfg.train_dataloader.dataset, cfg.test_dataloader.dataset
    assert train.type == test.type == f'mmpretrain.{dataset.__name__}'
    assert (train.split, test.split) == (split, 'test') and train.data_root == test.data_root
    assert {'data_root', 'split'} <= set(inspect.signature(dataset.__init__).parameters)
    classes = len(dataset.METAINFO['classes'])
    assert cfg.model.head.num_classes == cfg.model.data_preprocessor.num_classes == classes
    assert cfg.model.train_cfg is None  # neither mixup nor cutmix
    steps = {step.type: step for step in train.pipeline}
    assert steps['mmpretrain.RandomCrop'].crop_size == 224
    assert 'mmpretrain.RandomErasing' not in steps
    rates = [g['lr'] for g in optimizer_of(cfg, on_meta(cfg.model)).param_groups]
    assert max(rates) == pytest.approx(2e-3 * 8 * cfg.train_dataloader.batch_size / 1024)


@pytest.mark.parametrize(
    'path', sorted((DOWNSTREAM / 'retrieval').glob('*.py')), ids=lambda path: path.stem
)
def test_retrieval(path, on_meta):
    if path.stem.startswith('vit'):
        check_retrieval(path, Config.fromfile(path), on_meta)
        return
    for backbone in NETWORKS:
        check_retrieval(path, around(path, backbone), on_meta)


def check_retrieval(path, cfg, on_meta):
    side = int(path.stem.rsplit('-', 1)[1].removesuffix('px'))
    assert cfg.test_cfg.type == 'mmmask.RetrievalTestLoop'
    for dataset in (cfg.test_dataloader.dataset, *cfg.test_cfg.queries.values()):
        assert dataset.pipeline[0].scale == (side, side)
    if 'copydays' in path.stem:
        assert cfg.test_dataloader.dataset.block == 'original' and cfg.test_cfg.top == 20
        assert tuple(cfg.test_cfg.queries) == COPYDAYS_BLOCKS
        assert all(block == query.block for block, query in cfg.test_cfg.queries.items())
    elif 'duplicates' in path.stem:
        query = cfg.test_cfg.queries.duplicates
        assert query | dict(part='database') == cfg.test_dataloader.dataset
        assert cfg.test_cfg.top == 20
    model = on_meta(cfg.model)
    if cfg.model.backbone.type == 'mmpretrain.VisionTransformer':
        reads_every_third_of_the_layers(model)
    else:
        assert list(model.backbone.out_indices) == [0, 1, 2, 3]


def reads_every_third_of_the_layers(model):
    depth = len(model.backbone.layers)
    assert [index + 1 for index in model.backbone.out_indices] == [
        depth // 3, depth * 2 // 3, depth
    ]  # fmt: skip


@pytest.mark.parametrize('backbone', ['vit-base-p16', 'swin-base', 'resnet-50'])
def test_a_linear_probe_of_a_folder_leaves_the_backbone(backbone, tmp_path, monkeypatch):
    """The linear layer moves; neither weights nor statistics of the backbone do."""
    for part, (label, color) in product(('train', 'val'), (('a', 'red'), ('b', 'green'))):
        (tmp_path / part / label).mkdir(parents=True)
        for index in range(4):
            Image.new('RGB', (40, 50), color).save(tmp_path / part / label / f'{index}.png')
    monkeypatch.setenv('DATA', str(tmp_path))
    monkeypatch.setenv('NUM_CLASSES', '2')
    options = {
        'vit-base-p16': {
            'model.backbone.arch': dict(
                _delete_=True, embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=16
            ),
            'model.backbone.frozen_stages': 2,
            'model.neck.input_features': 16,
            'model.head.in_channels': 16,
        },
        'swin-base': {},
        'resnet-50': {
            'model.backbone.depth': 18,
            'model.backbone.base_channels': 8,
            'model.backbone.stem_channels': 8,
            'model.head.in_channels': 64,
        },
    }[backbone]
    options |= {
        f'{name}_dataloader.{key}': value
        for name in ('train', 'val', 'test')
        for key, value in (('num_workers', 0), ('batch_size', 4))
    }
    options |= {'train_cfg.max_epochs': 2, 'param_scheduler.warmup_epochs': 0}
    options['default_hooks.checkpoint.save_best'] = None
    path = (
        DOWNSTREAM
        / {
            'vit-base-p16': 'folder/vit-base-p16_linear.py',
            'swin-base': 'folder/linear.py',
            'resnet-50': f'imagenet/{PUBLISHED["resnet-50", "linear"]}_in1k.py',
        }[backbone]
    )
    pretrained = {}
    if backbone == 'swin-base':
        arch = dict(embed_dims=8, depths=[2] * 4, num_heads=[1] * 4)
        network = MODELS.build(
            dict(type='mmpretrain.SwinTransformer', arch=arch, window_size=7, norm_cfg=None)
        )
        pretrained = {f'backbone.{name}': value for name, value in network.state_dict().items()}
        torch.save(dict(state_dict=pretrained), tmp_path / 'swin.pth')
    cfg = load_config(
        path,
        options=options,
        work_dir=str(tmp_path / 'work'),
        pretrained=str(tmp_path / 'swin.pth') if pretrained else None,
    )
    cfg.log_level, cfg.visualizer.vis_backends = 'ERROR', [dict(type='LocalVisBackend')]
    cfg.experiment_name = str(tmp_path)
    runner, _ = build_runner(cfg)
    runner._init_model_weights()
    before = {name: p.clone() for name, p in runner.model.state_dict().items()} | pretrained
    monkeypatch.setattr(type(runner.model), 'init_weights', lambda self: None)
    runner.train()
    changed = {n for n, p in runner.model.state_dict().items() if not torch.equal(p, before[n])}
    assert {name for name in changed if name.startswith('backbone.')} == set()
    assert {'head.fc.weight', 'head.fc.bias'} <= changed
    assert len(runner.message_hub.get_scalar('val/accuracy/top1').data[0]) == 2
