import pytest
import torch
from conftest import ROOT, build_model
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.engine.optimizers import LARS as LoopLARS
from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import nn

from mmmask.engine.optimizers import LARS, LayerDecayOptimWrapperConstructor, WarmupCosineLR


def optimizer_at(lr, *scales):
    groups = [dict(params=[nn.Parameter(torch.zeros(1))], lr=lr * s) for s in scales or (1,)]
    return torch.optim.SGD(groups, lr=lr)


def rates(optimizer, scheduler, steps):
    """(steps, groups) learning rates that the steps see."""
    history = []
    for _ in range(steps):
        history.append([group['lr'] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return history


def test_schedule_of_localmim_vit_b():
    """100 epochs of 625 iterations."""
    optimizer = optimizer_at(1.6e-3)
    scheduler = WarmupCosineLR.build_iter_from_epoch(
        optimizer, warmup_epochs=10, eta_min=1e-6, end=100, epoch_length=625
    )
    history = rates(optimizer, scheduler, 62_500)
    assert history[0] == [0.0]
    expected = {1: 1.6e-4, 5: 8e-4, 10: 1.6e-3, 20: 1.552e-3, 50: 9.39e-4}
    for epoch, lr in expected.items():
        assert history[625 * epoch][0] == pytest.approx(lr, rel=5e-4)
    assert history[-1][0] == pytest.approx(1e-6, rel=1e-2)


def test_schedule_by_epoch_and_groups_of_other_rates():
    optimizer = optimizer_at(0.1, 1.0, 0.5)
    scheduler = WarmupCosineLR(optimizer, warmup_epochs=2, eta_min=0.02, end=6)
    history = rates(optimizer, scheduler, 6)
    # warm-up 0, 1/2; then .02 + .08 * (1 + cos(pi * k / 4)) / 2
    assert [h[0] for h in history] == pytest.approx([0, 0.05, 0.1, 0.08828427, 0.06, 0.03171573])
    assert [h[1] for h in history] == pytest.approx([h[0] / 2 for h in history])


def test_schedule_resumes_where_it_was():
    straight = optimizer_at(1.0)
    scheduler = WarmupCosineLR(straight, warmup_epochs=2, end=8)
    expected = rates(straight, scheduler, 8)
    first = optimizer_at(1.0)
    scheduler = WarmupCosineLR(first, warmup_epochs=2, end=8)
    begin = rates(first, scheduler, 5)
    second = optimizer_at(1.0)
    resumed = WarmupCosineLR(second, warmup_epochs=2, end=8)
    resumed.load_state_dict(scheduler.state_dict())
    second.load_state_dict(first.state_dict())
    assert begin + rates(second, resumed, 3) == expected


@pytest.mark.parametrize('warmup', [8, 9, -1])
def test_a_warmup_as_long_as_the_run_is_named(warmup):
    with pytest.raises(ValueError, match=rf'warmup_epochs={warmup} must lie in \[0, 8\)'):
        WarmupCosineLR(optimizer_at(1.0), warmup_epochs=warmup, end=8)


def test_pre_training_groups():
    """One-dimensional tensors do not decay; class and mask tokens do, as in the reference."""
    model = build_model('demo/localmim_vit-tiny_digits.py')
    cfg = Config.fromfile(ROOT / 'configs/demo/localmim_vit-tiny_digits.py')
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    names = {id(p): n for n, p in model.named_parameters()}
    decayed, plain = ({names[id(p)] for p in g['params']} for g in optimizer.param_groups)
    assert [g['weight_decay'] for g in optimizer.param_groups] == [0.05, 0.0]
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert decayed == {n for n, p in trained.items() if p.ndim > 1}
    assert plain == {n for n, p in trained.items() if p.ndim == 1}
    assert {'backbone.cls_token', 'neck.decoders.0.mask_token'} <= decayed
    assert 'backbone.pos_embed' not in decayed | plain


def build_classifier(cfg):
    """In a network of mmpretrain, names of parameters have no prefix."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MMPRETRAIN_MODELS.build(cfg)


def groups_by_name(constructor, model, paramwise_cfg):
    wrapper_cfg = dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05)
    )
    optimizer = constructor(wrapper_cfg, paramwise_cfg)(model).optimizer
    names = {id(p): n for n, p in model.named_parameters()}
    return {
        names[id(p)]: (pytest.approx(g['lr']), g['weight_decay'])
        for g in optimizer.param_groups
        for p in g['params']
    }


@pytest.mark.parametrize(
    'backbone',
    [
        dict(
            type='mmpretrain.VisionTransformer',
            arch='deit-tiny',
            out_type='avg_featmap',
            final_norm=False,
        ),
        dict(type='mmpretrain.SwinTransformer', arch='tiny'),
    ],
    ids=['vit', 'swin'],
)
def test_layer_decay_equals_mmpretrains(backbone):
    width = 192 if backbone['type'] == 'mmpretrain.VisionTransformer' else 768
    model = build_classifier(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=backbone,
            head=dict(type='mmpretrain.LinearClsHead', num_classes=5, in_channels=width),
        )
    )
    ours = groups_by_name(LayerDecayOptimWrapperConstructor, model, dict(layer_decay_rate=0.65))
    theirs = groups_by_name(
        LearningRateDecayOptimWrapperConstructor,
        model,
        dict(layer_decay_rate=0.65, norm_decay_mult=0, bias_decay_mult=0, flat_decay_mult=0),
    )
    assert ours.keys() == theirs.keys()
    for name, (lr, decay) in ours.items():
        assert lr == theirs[name][0].expected, name
        assert decay == theirs[name][1], name


def test_layer_scale_of_the_patch_embedding_of_vit_b():
    with torch.device('meta'):
        model = build_classifier(
            dict(
                type='mmpretrain.ImageClassifier',
                backbone=dict(type='mmpretrain.VisionTransformer', arch='base'),
                head=dict(type='mmpretrain.LinearClsHead', num_classes=5, in_channels=768),
            )
        )
    constructor = LayerDecayOptimWrapperConstructor(
        dict(optimizer=dict(type='AdamW', lr=1.0)), dict(layer_decay_rate=0.65)
    )
    name = 'backbone.patch_embed.projection.weight'
    assert constructor.learning_rate_scale(model, name) == pytest.approx(0.003697, rel=1e-3)
    assert constructor.learning_rate_scale(model, 'head.fc.weight') == 1


def test_names_can_be_exempt_from_decay_and_wrong_options_are_named():
    model = build_model('demo/mae_vit-tiny_digits.py')
    groups = groups_by_name(LayerDecayOptimWrapperConstructor, model, dict(no_decay=('token',)))
    assert groups['backbone.cls_token'][1] == groups['neck.mask_token'][1] == 0
    assert groups['neck.embed.weight'][1] == 0.05
    with pytest.raises(ValueError, match=r"unknown keys \['layer_decay'\].*layer_decay_rate"):
        LayerDecayOptimWrapperConstructor(dict(optimizer=dict(type='SGD')), dict(layer_decay=0.5))


class TestLARS:
    def networks(self):
        """Two equal networks, of which one parameter is 0 and one never gets a gradient."""
        for _ in range(2):
            torch.manual_seed(0)
            network = nn.Sequential(nn.Linear(7, 5), nn.LayerNorm(5), nn.Linear(5, 3))
            nn.init.zeros_(network[2].weight)
            network[2].bias.requires_grad_(False)
            yield network

    def groups(self, network):
        plain = [p for p in network.parameters() if p.ndim == 1]
        return [
            dict(params=[p for p in network.parameters() if p.ndim > 1]),
            dict(params=plain, lars_exclude=True, weight_decay=0.0, lr=0.1),
        ]

    @pytest.mark.parametrize(
        'options', [dict(), dict(momentum=0.9), dict(momentum=0.9, nesterov=True),
                    dict(momentum=0.8, dampening=0.3, weight_decay=0.0)]
    )  # fmt: skip
    def test_it_equals_the_loop_bit_by_bit(self, options):
        ours, theirs = self.networks()
        options = dict(lr=0.3, weight_decay=1e-3, eta=1e-2) | options
        pairs = (
            (ours, LARS(self.groups(ours), **options)),
            (theirs, LoopLARS(self.groups(theirs), **options)),
        )
        for step in range(4):
            for network, optimizer in pairs:
                torch.manual_seed(step)
                optimizer.zero_grad()
                loss = network(torch.randn(6, 7)).square().mean()
                (loss if step else 0 * loss).backward()  # no gradient, then one
                optimizer.step()
        for name, value in ours.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name
        states = [optimizer.state_dict()['state'] for _, optimizer in pairs]
        assert states[0].keys() == states[1].keys()
        for index, state in states[0].items():
            assert torch.equal(state['momentum_buffer'], states[1][index]['momentum_buffer'])
        assert not torch.equal(ours[0].weight, next(self.networks())[0].weight)

    def test_all_at_once_as_on_gpus(self):
        ours, theirs = self.networks()
        options = dict(lr=0.3, momentum=0.9, weight_decay=1e-3)
        optimizer = LARS(ours.parameters(), **options)
        loop = LoopLARS(theirs.parameters(), **options)
        for step in range(2):
            for network in (ours, theirs):
                torch.manual_seed(step)
                for parameter in network.parameters():
                    parameter.grad = torch.randn_like(parameter)
            with torch.no_grad():
                optimizer._update([*ours.parameters()], optimizer.param_groups[0])
            loop.step()
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(one, other)

    def test_hand_computed(self):
        """A weight of norm 5 and a gradient of norm 10: the rate is 0.5 * 0.1 * 5 / 10."""
        weight = nn.Parameter(torch.tensor([3.0, 4.0]))
        weight.grad = torch.tensor([6.0, 8.0])
        LARS([weight], lr=0.5, eta=0.1).step()
        torch.testing.assert_close(weight.data, torch.tensor([3 - 0.025 * 6, 4 - 0.025 * 8]))

    def test_nothing_is_read_on_the_host(self):
        network = nn.Linear(3, 2, device='meta')
        for parameter in network.parameters():
            parameter.grad = torch.empty_like(parameter)
        LARS(network.parameters(), lr=0.1, momentum=0.9).step()
        with pytest.raises(RuntimeError, match='meta'):
            LoopLARS(network.parameters(), lr=0.1).step()
