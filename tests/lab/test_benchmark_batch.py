"""Downstream configs are measured like pre-training."""

import pytest
import torch
from conftest import ROOT
from mmengine.config import Config

from mmmask.lab.benchmark.steps import TrainingStep

DOWNSTREAM = ROOT / 'configs' / 'downstream'
DIGITS = 'digits_on_photographs/{}_1xb4-400i_digits-on-photographs.py'
PARTS = {
    'tiny_imagenet/vit-tiny-p8_cmae-mao-demo_1xb64-coslr-4e_tiny-imagenet-64px.py': ['head.fc'],
    DIGITS.format('upernet_vit-tiny-p8'): ['decode_head.conv_seg', 'auxiliary_head.conv_seg'],
    DIGITS.format('mask-rcnn_resnet-18_fpn'): [
        'rpn_head.rpn_cls',
        'roi_head.bbox_head.fc_cls',
        'roi_head.bbox_head.fc_reg',
        'roi_head.mask_head.conv_logits',
    ],
}


@pytest.mark.parametrize('path', PARTS)
def test_every_part_learns_from_the_synthetic_labels(path):
    size = (128, 128) if 'digits' in path else (64, 64)
    torch.manual_seed(0)
    step = TrainingStep(Config.fromfile(DOWNSTREAM / path), torch.randn(2, 3, *size))
    assert step.batch['inputs'].shape == (2, 3, *size)
    before = {name: value.detach().clone() for name, value in step.model.named_parameters()}
    step()
    changed = {
        name
        for name, value in step.model.named_parameters()
        if not torch.equal(value, before[name]) and value.isfinite().all()
    }
    for part in ('backbone', *PARTS[path]):
        assert any(name.startswith(part) for name in changed), part
    # A batch of four times the size costs four times as much, except for the regions of detectors.
    flops = step.count_flops()
    large = TrainingStep(Config.fromfile(DOWNSTREAM / path), torch.randn(8, 3, *size))
    assert large.count_flops() / flops == pytest.approx(4, rel=0.2 if 'mask-rcnn' in path else 1e-9)
