"""A shorter run keeps its schedule, validation and checkpoints in proportion."""

import pytest
from conftest import ROOT
from mmengine.config import Config

from mmmask.apis.length import set_length

COCO = ROOT / 'configs/downstream/coco/mask-rcnn_r50_fpn_8xb2-ms-1x_coco.py'
ADE = ROOT / 'configs/downstream/ade20k/upernet_vit-base-p16_mae_8xb2-amp-160k_ade20k-512x512.py'
DIGITS = ROOT / 'configs/demo/mae_vit-tiny_digits.py'


def test_epochs():
    """12 epochs with steps after 8 and 11, and a warm-up of 500 iterations -> 3 epochs."""
    cfg = Config.fromfile(COCO)
    set_length(cfg, epochs=3)
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (3, 1)
    warmup, steps = cfg.param_scheduler
    assert (warmup.end, steps.milestones) == (125, [2, 3])
    assert cfg.default_hooks.checkpoint.interval == 1


def test_fractions_of_an_epoch_and_hooks():
    """20 epochs with 2 of warm-up and looks every 5 -> 4 epochs; longer works as well."""
    cfg = Config.fromfile(DIGITS)
    set_length(cfg, epochs=4)
    assert cfg.param_scheduler.warmup_epochs == pytest.approx(0.4)
    assert cfg.default_hooks.checkpoint.interval == 1
    assert [hook.get('interval') for hook in cfg.custom_hooks] == [None, 1, 1]
    cfg = Config.fromfile(DIGITS)
    set_length(cfg, epochs=200)
    assert cfg.param_scheduler.warmup_epochs == 20
    assert cfg.default_hooks.checkpoint.interval == 50


def test_iterations():
    """160,000 iterations with 1,500 of warm-up and checkpoints every 16,000 -> 400."""
    cfg = Config.fromfile(ADE)
    set_length(cfg, iters=400)
    warmup, poly = cfg.param_scheduler
    assert (warmup.begin, warmup.end, poly.begin, poly.end) == (0, 4, 4, 400)
    assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval == 40
    assert cfg.default_hooks.logger.interval == 40
    set_length(cfg, iters=1)  # nothing is left of the second schedule
    assert len(cfg.param_scheduler) == 1 and cfg.train_cfg.val_interval == 1


def test_loops_and_hooks_that_begin_or_switch_at_some_time():
    """300 epochs that mmdet changes near the end -> 30, as in its configs of RTMDet and YOLOX."""
    cfg = Config(
        dict(
            train_cfg=dict(
                max_epochs=300, val_begin=100, val_interval=10, dynamic_intervals=[(280, 1)]
            ),
            param_scheduler=dict(type='OneCycleLR', eta_max=0.1, total_steps=300),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=10, save_begin=200)),
            custom_hooks=[
                dict(type='PipelineSwitchHook', switch_epoch=280, switch_pipeline=[]),
                dict(type='YOLOXModeSwitchHook', num_last_epochs=15),
                dict(type='EMAHook', begin_epoch=50, begin_iter=0),
            ],
        )
    )
    set_length(cfg, epochs=30)
    assert cfg.param_scheduler.total_steps == 30
    assert (cfg.train_cfg.val_begin, cfg.train_cfg.val_interval) == (10, 1)
    assert cfg.train_cfg.dynamic_intervals == [(28, 1)]
    assert (cfg.default_hooks.checkpoint.save_begin, cfg.default_hooks.checkpoint.interval) == (
        20,
        1,
    )
    switch, mode, average = cfg.custom_hooks
    assert (switch.switch_epoch, mode.num_last_epochs) == (28, 2)
    assert (average.begin_epoch, average.begin_iter) == (5, 0)
    set_length(cfg, epochs=1)
    assert cfg.param_scheduler.total_steps == cfg.train_cfg.val_begin == 1
    assert cfg.train_cfg.dynamic_intervals == [(1, 1)]


@pytest.mark.parametrize(
    ('config', 'length', 'sentence'),
    [
        (COCO, dict(iters=10), '--iters 10: this config does not count iters; use --epochs'),
        (ADE, dict(epochs=1), '--epochs 1: this config does not count epochs; use --iters'),
        (COCO, dict(epochs=1, iters=1), 'give one of them'),
        (COCO, dict(epochs=0), '1 or more'),
    ],
)
def test_another_unit_is_refused(config, length, sentence):
    with pytest.raises(ValueError, match=sentence):
        set_length(Config.fromfile(config), **length)
