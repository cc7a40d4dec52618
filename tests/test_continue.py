"""The commands of docs/continue.md are valid, and at a small size weights go where they say."""

import re
import shlex

import pytest
import timm
import torch
import transformers
from conftest import ROOT, errors_but_for_data, with_options
from mmengine.config import Config

from mmmask.apis import convert_checkpoint
from mmmask.checkpoints import load_backbone, open_checkpoint, take_whole
from mmmask.registry import MODELS

TEXT = (ROOT / 'docs/continue.md').read_text()
COMMANDS = [shlex.split(line) for line in re.findall(r'^python tools/train.py (.*)$', TEXT, re.M)]
WIDTH, DEPTH = 32, 2
VIT = dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=2, feedforward_channels=64)


def read(command):
    """The config with its options, and the file that the command starts from."""
    config, *rest = command
    options = rest[rest.index('--cfg-options') + 1 :]
    cfg = with_options(Config.fromfile(ROOT / config), shlex.join(options))
    weights = rest[1] if rest[0] == '--pretrained' else cfg.pop('load_from')
    return cfg, weights


def small(cfg):
    model = cfg.model
    if 'Vision' in model.backbone.type:
        model.backbone.update(arch=VIT, img_size=4 * model.backbone.patch_size)
        if model.type == 'mmmask.LocalMIM':
            model.backbone.update(arch=dict(VIT, num_layers=12))
    if model.type == 'mmmask.SimMIM':
        model.backbone.arch = dict(embed_dims=8, depths=[2, 2, 2, 2], num_heads=[1, 2, 2, 4])
    torch.manual_seed(0)
    built = MODELS.build(model)
    built.init_weights()
    return built


def public_encoder(name, cfg):
    """A file as its project publishes it, with random weights."""
    side = cfg.model.backbone.get('img_size', 224)
    if 'hf-hub' in name:
        kind = 'IJepa' if 'ijepa' in name else 'ViTMAE'
        config = getattr(transformers, f'{kind}Config')(
            hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=2, image_size=side,
            patch_size=cfg.model.backbone.patch_size, intermediate_size=64,
        )  # fmt: skip
        return getattr(transformers, f'{kind}Model')(config).state_dict()
    if 'dino' in name:
        return timm.models.VisionTransformer(
            img_size=side, patch_size=cfg.model.backbone.patch_size, embed_dim=WIDTH, depth=DEPTH,
            num_heads=2, mlp_ratio=2, init_values=1.0 if 'dinov2' in name else None,
            num_classes=0,
        ).state_dict()  # fmt: skip
    return timm.create_model('resnet50').state_dict()


@pytest.mark.parametrize('command', COMMANDS, ids=lambda command: read(command)[1])
def test_a_command_is_valid(command):
    cfg, _ = read(command)
    assert errors_but_for_data(cfg) == []
    base = Config.fromfile(ROOT / command[0]).optim_wrapper.optimizer.lr
    expected = base / 10 if 'load_from' in ' '.join(command) else base / 3
    if 'resnet' not in command[0]:
        assert cfg.optim_wrapper.optimizer.lr == pytest.approx(expected, rel=0.11)


@pytest.mark.parametrize(
    'command',
    [command for command in COMMANDS if 'localmim_swin' not in command[0]],
    ids=lambda command: read(command)[1],
)
def test_weights_arrive(command, tmp_path):
    cfg, name = read(command)
    model = small(cfg)
    if command[1] == '--pretrained':
        torch.save(public_encoder(name, cfg), tmp_path / 'a.pth')
        before = {n: t.clone() for n, t in model.state_dict().items()}
        summary = load_backbone(model.backbone, tmp_path / 'a.pth')
        assert ' 0 missing [], 0 unexpected []' in summary
        changed = {n.split('.')[0] for n, t in model.state_dict().items() if not t.equal(before[n])}
        assert changed == {'backbone'}
        return
    target = 'mmmask' if 'work_dirs' in name else model.__class__.__name__.lower()
    target = dict(localmim='localmim-vit', simmim='simmim-swin').get(target, target)
    target = 'huggingface-mae' if 'vit-mae' in name else target
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'a.pth')
    if target != 'mmmask':
        convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth', target=target)
    checkpoint = open_checkpoint(tmp_path / ('a.pth' if target == 'mmmask' else 'b.pth'))
    take_whole(model, checkpoint, name)
    assert checkpoint['state_dict'].keys() == model.state_dict().keys()
