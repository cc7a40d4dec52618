"""The page on coming from mmpretrain: its names exist on both sides, and its weights load."""

import re

import mmpretrain.engine
import mmpretrain.registry
import pytest
import torch
from conftest import ROOT
from mmengine.registry import Registry
from mmpretrain.models import MAE

import mmmask.registry
from mmmask.checkpoints import load_backbone
from mmmask.models import MaskedVisionTransformer

PAGE = (ROOT / 'docs' / 'migration.md').read_text()
NAME = re.compile(r'`(\w+)`')
ROWS = [line.split('|')[1:3] for line in PAGE.split('## Weights')[0].splitlines() if '`' in line]
ROWS = [row for row in ROWS if len(row) == 2]
ARCHITECTURE = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)


def find(package, name: str):
    """What a registry of a package, or of mmengine, has under a name, or None."""
    registries = [value for value in vars(package).values() if isinstance(value, Registry)]
    return next((found for found in (r.get(name) for r in registries) if found), None)


@pytest.mark.parametrize(('old', 'new'), ROWS, ids=[NAME.search(old)[1] for old, _ in ROWS])
def test_names_are_registered(old, new):
    assert [name for name in NAME.findall(old) if not find(mmpretrain.registry, name)] == []
    for name in NAME.findall(new):
        found = find(mmmask.registry, name)
        assert found and found.__module__.split('.')[0] in ('mmmask', 'mmengine')


def test_methods_that_are_said_to_be_missing():
    section = PAGE.split('## Methods that mmmask lacks')[1].lstrip()
    missing = NAME.findall(section.splitlines()[0])
    assert len(missing) == 13
    for name in missing:
        assert name in mmpretrain.registry.MODELS.module_dict
        assert name not in mmmask.registry.MODELS.module_dict


def test_the_backbone_of_a_pretraining_of_mmpretrain_loads(tmp_path):
    torch.manual_seed(0)
    theirs = MAE(
        backbone=dict(type='MAEViT', arch=ARCHITECTURE, img_size=64, patch_size=8),
        neck=dict(
            type='MAEPretrainDecoder',
            num_patches=64,
            patch_size=8,
            embed_dim=32,
            decoder_embed_dim=16,
            decoder_depth=1,
            decoder_num_heads=2,
        ),
        head=dict(
            type='MAEPretrainHead',
            patch_size=8,
            loss=dict(type='PixelReconstructionLoss', criterion='L2'),
        ),
    )
    theirs.init_weights()
    torch.save(dict(state_dict=theirs.state_dict()), tmp_path / 'mae.pth')
    ours = MaskedVisionTransformer(ARCHITECTURE, img_size=64, patch_size=8)
    report = load_backbone(ours, tmp_path / 'mae.pth')
    assert '0 missing' in report
    ours.eval()  # mmpretrain's backbones return nothing
    theirs.eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        (expected,) = theirs.backbone(images, mask=None)
        (features,) = ours(images)
    assert torch.allclose(features, expected, atol=1e-5)
