"""A classifier that is worse than the most frequent class is reported."""

import logging
from types import SimpleNamespace

import pytest
import torch
from mmpretrain.structures import DataSample

from mmmask.engine.hooks import MajorityClassHook
from mmmask.evaluation import majority_warning

LABELS = [0, 0, 0, 1]


def run_epoch(hook, runner, mode, top1, name='accuracy/top1'):
    getattr(hook, f'before_{mode}_epoch')(runner)
    for pair in (LABELS[:2], LABELS[2:]):
        samples = [DataSample().set_gt_label(label) for label in pair]
        getattr(hook, f'after_{mode}_iter')(runner, 0, None, samples)
    getattr(hook, f'after_{mode}_epoch')(runner, {name: top1})


@pytest.fixture
def runner():
    return SimpleNamespace(logger=logging.getLogger('test_majority'))


def test_the_last_validation_of_a_training_counts(runner, caplog):
    hook = MajorityClassHook()
    run_epoch(hook, runner, 'val', 10.0)
    run_epoch(hook, runner, 'val', 75.0)
    hook.after_train(runner)
    assert caplog.messages == []
    run_epoch(hook, runner, 'val', 74.0)
    assert caplog.messages == []
    hook.after_train(runner)
    (message,) = caplog.messages
    assert message.startswith(
        'accuracy/top1 is 74.00 %, below the 75.00 % of always predicting the most frequent of '
        'the 4 '
    )


def test_a_test_is_judged_at_once_and_other_metrics_are_not(runner, caplog):
    hook = MajorityClassHook()
    run_epoch(hook, runner, 'test', 10.0, 'multi-label/mAP')
    assert caplog.messages == []
    run_epoch(hook, runner, 'test', 10.0)
    assert len(caplog.messages) == 1


def test_equal_is_not_below():
    labels = torch.tensor(LABELS)
    assert majority_warning('top1', 75.0, labels) is None
    assert '74.90 %, below the 75.00 %' in majority_warning('top1', 74.9, labels)
