"""Two launchers, as on two machines, train one model whose weights are divided between them."""

import os
import socket
import subprocess

import pytest
import torch
from conftest import ROOT

from mmmask.checkpoints import open_checkpoint

CONFIG = f"""
_base_ = {str(ROOT / 'configs' / 'demo' / 'mae_vit-tiny_digits.py')!r}
model = dict(backbone=dict(arch=dict(num_layers=1)), neck=dict(depth=1))
train_dataloader = dict(batch_size=4, num_workers=0, dataset=dict(indices=16))
param_scheduler = dict(warmup_epochs=0.5)
train_cfg = dict(max_epochs=1)
default_hooks = dict(checkpoint=dict(interval=1))
custom_hooks = []
"""


@pytest.mark.skipif(
    torch.cuda.is_available(), reason='tests launchers only, and would need two GPUs'
)
def test_two_launchers_of_one_process_each(tmp_path):
    (tmp_path / 'config.py').write_text(CONFIG)
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        port = listener.getsockname()[1]
    variables = dict(NNODES='2', MASTER_ADDR='127.0.0.1', PORT=str(port), OMP_NUM_THREADS='1')
    launchers = [
        subprocess.Popen(
            ['tools/dist_train.sh', tmp_path / 'config.py', '1', '--shard', 'full']
            + ['--work-dir', tmp_path / f'machine_{rank}'],
            cwd=ROOT,
            env=os.environ | variables | {'NODE_RANK': str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    for launcher in launchers:
        output = launcher.communicate(timeout=500)[0]
        assert launcher.returncode == 0, output
    checkpoint = open_checkpoint(tmp_path / 'machine_0' / 'epoch_1.pth')
    assert checkpoint['meta']['iter'] == 2  # 16 images in steps of 2 x 4
    assert len(checkpoint['resume']['random']) == 2
    shapes = {name: tuple(value.shape) for name, value in checkpoint['state_dict'].items()}
    assert shapes['backbone.layers.0.ffn.layers.0.0.weight'] == (512, 128)
    assert not list((tmp_path / 'machine_1').glob('*.pth'))
