"""If one of two processes dies, its traceback is shown, the other ends, and both restart."""

import os
import re
import subprocess
import time

import pytest
import torch
from conftest import ROOT

from mmmask.checkpoints import open_checkpoint

FAULT = r'''
import os, time
from mmengine.hooks import Hook
from mmmask.registry import HOOKS

if os.environ['TORCHELASTIC_RESTART_COUNT'] == '1' and os.environ['RANK'] == '0':
    time.sleep(4)  # the other process must wait and not connect to the dead predecessor

@HOOKS.register_module()
class FaultHook(Hook):
    """Process 1 fails in the sixth iteration of the first start."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        with open(os.path.join(runner.work_dir, 'processes.txt'), 'a') as file:
            file.write(f'{os.getpid()}\n')
        first = os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'
        if first and runner.iter == 5 and runner.rank == 1:
            raise RuntimeError('the fault that was injected')
'''
CONFIG = f"""
_base_ = {str(ROOT / 'configs' / 'demo' / 'mae_vit-tiny_digits.py')!r}
custom_imports = dict(imports=['fault'])
model = dict(
    backbone=dict(arch=dict(num_layers=1)),
    neck=dict(depth=1),
)
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(indices=32))
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=2)
default_hooks = dict(checkpoint=dict(interval=3, by_epoch=False))
custom_hooks = [dict(type='mmmask.FaultHook')]
"""


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(
    torch.cuda.is_available(), reason='tests processes only, and would need two GPUs'
)
def test_all_processes_end_with_the_traceback_and_restart(tmp_path):
    (tmp_path / 'fault.py').write_text(FAULT)
    (tmp_path / 'config.py').write_text(CONFIG)
    work_dir = tmp_path / 'work'
    paths = os.pathsep.join([str(ROOT), str(tmp_path)])
    started = time.monotonic()
    result = subprocess.run(
        ['tools/dist_train.sh', tmp_path / 'config.py', '2', '--work-dir', work_dir],
        cwd=ROOT,
        env=os.environ | {'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1', 'MAX_RESTARTS': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout
    assert time.monotonic() - started < 500

    output = result.stdout
    traceback = output.index('RuntimeError: the fault that was injected')
    assert traceback < re.search(r'Resuming from .*iter_3\.pth', output).start()
    checkpoint = open_checkpoint((work_dir / 'last_checkpoint').read_text())
    assert checkpoint['meta']['iter'] == 8
    assert len(checkpoint['resume']['random']) == 2
    processes = set(map(int, (work_dir / 'processes.txt').read_text().split()))
    assert len(processes) == 4 and not any(map(is_running, processes))
