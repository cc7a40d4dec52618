import pytest
import torch
import torch.multiprocessing
from torch import distributed as dist

from mmmask.layers import gather_rows
from mmmask.losses import info_nce


def test_one_process_keeps_its_rows():
    rows = torch.randn(3, 2)
    gathered, first = gather_rows(rows)
    assert gathered is rows and first == 0


def compare_shard(rank, folder):
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    queries, keys = torch.load(folder / 'rows.pt')
    own = slice(3 * rank, 3 * rank + 3)
    query = queries[own].clone().requires_grad_()
    pool, first = gather_rows(keys[own])
    loss, accuracy = info_nce(query, pool, 0.07, first)
    loss.backward()
    torch.save((pool, first, loss.item(), accuracy.item(), query.grad), folder / f'{rank}.pt')
    dist.destroy_process_group()


def test_two_processes_see_the_keys_of_both(tmp_path):
    """Loss, accuracy and gradient of two processes with three images are those of one with six."""
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 6, 4)
    torch.save((queries, keys), tmp_path / 'rows.pt')
    torch.multiprocessing.spawn(compare_shard, (tmp_path,), nprocs=2)
    shards = [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)]
    query = queries.clone().requires_grad_()
    loss, accuracy = info_nce(query, keys, 0.07)
    loss.backward()
    for rank, (pool, first, *_) in enumerate(shards):
        assert torch.equal(pool, keys) and first == 3 * rank
    assert sum(shard[2] for shard in shards) / 2 == pytest.approx(loss.item(), rel=1e-6)
    assert sum(shard[3] for shard in shards) / 2 == pytest.approx(accuracy.item())
    torch.testing.assert_close(torch.cat([shard[4] for shard in shards]) / 2, query.grad)
