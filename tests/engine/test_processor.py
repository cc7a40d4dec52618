"""bf16 on CPUs, and the cores that a training uses."""

import os

import pytest
import torch
import torch.nn.functional as F
from conftest import build_model
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from mmmask.apis.train import share_cores
from mmmask.engine.optimizers import processor

QUERY, KEY, VALUE = torch.randn(3, 2, 4, 5, 8, generator=torch.Generator().manual_seed(0))


def test_attention_is_computed_in_fp32_and_products_in_bf16():
    expected = F.scaled_dot_product_attention(QUERY, KEY, VALUE)
    with processor.processor_autocast():
        result = F.scaled_dot_product_attention(QUERY, KEY, VALUE)
        seen = torch.ones(5, 5, dtype=torch.bool)
        masked = F.scaled_dot_product_attention(QUERY.bfloat16(), KEY, VALUE, attn_mask=seen)
        product = QUERY @ KEY.mT
    assert result.dtype == masked.dtype == torch.float32
    torch.testing.assert_close(result, expected, rtol=0, atol=0)
    assert product.dtype == torch.bfloat16


@pytest.mark.parametrize('name', ['localmim_vit-tiny', 'simmim_swin-tiny'])
def test_a_step_in_bf16_resembles_one_in_fp32(name):
    model = build_model(f'demo/{name}_digits.py')
    views = [torch.randn(4, 3, 64, 64) for _ in range(model.num_views)]
    losses, grads = [], []
    adamw = dict(type='AdamW', lr=1e-3)
    for wrapper in ('OptimWrapper', 'mmmask.ProcessorAmpOptimWrapper'):
        optim_wrapper = build_optim_wrapper(model, dict(type=wrapper, optimizer=adamw))
        torch.manual_seed(0)
        model.zero_grad()
        with optim_wrapper.optim_context(model):
            loss = model.parse_losses(model.loss(*views))[0]
        optim_wrapper.backward(loss)
        parameters = [p for p in model.parameters() if p.grad is not None]
        assert {p.grad.dtype for p in parameters} == {torch.float32}
        losses.append(loss.detach())
        grads.append(torch.cat([p.grad.flatten() for p in parameters]))
    assert losses[0] != losses[1]
    torch.testing.assert_close(losses[1], losses[0], rtol=2e-2, atol=0)
    assert F.cosine_similarity(*grads, dim=0) > 0.98


def test_processors_without_the_instructions(monkeypatch):
    monkeypatch.setattr(torch.cpu, '_is_amx_tile_supported', lambda: False, raising=False)
    monkeypatch.delattr(torch.cpu, '_is_avx512_bf16_supported', raising=False)
    assert not processor.multiplies_bf16()
    monkeypatch.setattr(torch.cpu, '_is_amx_tile_supported', lambda: True, raising=False)
    assert processor.multiplies_bf16()


def test_workers_and_threads_fit_the_cores(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0, 2, 4, 6}, raising=False)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    threads = []
    monkeypatch.setattr(torch, 'set_num_threads', threads.append)
    cfg = Config(dict(train_dataloader=dict(num_workers=8), val_dataloader=dict(num_workers=8)))
    share_cores(cfg, {'val_dataloader.num_workers': 8})
    assert cfg.train_dataloader.num_workers == 2 and cfg.val_dataloader.num_workers == 8
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    share_cores(cfg, {})
    assert threads == [2]
