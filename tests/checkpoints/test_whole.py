"""``load_from`` fills a model, says what it left out, or refuses."""

import logging

import pytest
import torch
from conftest import ROOT, build_model
from mmengine.config import Config
from mmengine.runner import CheckpointLoader, Runner

from mmmask.apis import convert_checkpoint
from mmmask.apis.train import set_defaults
from mmmask.checkpoints import CheckpointError, loading, open_checkpoint, take_whole

CONFIG = 'demo/mae_vit-tiny_digits.py'


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(loading, 'print_log', lambda *args, **kw: lines.append((args, kw)))
    return lines


@pytest.mark.parametrize('wrapped', ['state_dict', 'model', 'module.'])
def test_a_whole_file_is_found_wherever_it_is(log, wrapped):
    model = build_model(CONFIG)
    tensors = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    if wrapped == 'module.':
        checkpoint = {'state_dict': {f'module.{name}': x for name, x in tensors.items()}}
    else:
        checkpoint = {wrapped: tensors}
    take_whole(model, checkpoint, 'a.pth')
    assert checkpoint['state_dict'].keys() == tensors.keys()
    assert all(checkpoint['state_dict'][name] is tensors[name] for name in tensors)
    ((line,), options) = log[0]
    assert (
        line == f'load_from=a.pth: {len(tensors)} of {len(tensors)} tensors of the model are filled'
    )
    assert options['level'] == logging.INFO


def test_gaps_are_named_loudly(log):
    model = build_model(CONFIG)
    tensors = dict(model.state_dict())
    del tensors['neck.mask_token']
    tensors['neck.norm.bias'] = torch.zeros(7)
    tensors['extra'] = torch.zeros(1)
    take_whole(model, {'state_dict': tensors}, 'a.pth')
    ((line,), options) = log[0]
    assert options['level'] == logging.WARNING
    assert '2 missing (neck.mask_token, neck.norm.bias), 2 unused (neck.norm.bias, extra)' in line


@pytest.mark.parametrize('kind', ['mae', 'localmim-vit'])
def test_an_official_pre_training_arrives_with_its_decoder(tmp_path, log, kind):
    config = kind.replace('-', '_') if 'localmim' in kind else 'mae_vit'
    model = build_model(f'demo/{config}-tiny_digits.py')
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'ours.pth')
    convert_checkpoint(tmp_path / 'ours.pth', tmp_path / 'theirs.pth', target=kind)
    checkpoint = open_checkpoint(tmp_path / 'theirs.pth')
    take_whole(model, checkpoint, 'theirs.pth')
    found = checkpoint['state_dict']
    assert found.keys() == model.state_dict().keys()
    assert any(name.startswith('neck.') for name in found)
    assert all(torch.equal(model.state_dict()[name], found[name]) for name in found)


def test_a_file_of_another_layout_is_refused():
    model = build_model(CONFIG)
    theirs = {f'blocks.{i}.attn.qkv.weight': torch.zeros(3, 1) for i in range(2)}
    with pytest.raises(CheckpointError, match=r"load_from='a.pth' fills 0 of .* with --pretrained"):
        take_whole(model, {'model': theirs}, 'a.pth')


def test_a_training_that_starts_from_another_layout_is_refused(tmp_path):
    torch.save({'teacher': {'blocks.0.norm1.weight': torch.zeros(3)}}, tmp_path / 'a.pth')
    cfg = Config.fromfile(ROOT / 'configs' / CONFIG)
    cfg.work_dir, cfg.launcher, cfg.load_from = str(tmp_path), 'none', str(tmp_path / 'a.pth')
    set_defaults(cfg)
    schemes = dict(CheckpointLoader._schemes)
    try:
        with pytest.raises(CheckpointError, match='a.pth.* fills 0 of '):
            Runner.from_cfg(cfg).train()
    finally:
        CheckpointLoader._schemes = schemes
