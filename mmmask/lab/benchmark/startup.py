"""Modules, time and memory until a command can do something, each in a process of its own."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import torch

from mmmask.doctor import ROOT

from .measuring import describe_machine
from .report import Report, Result

TRAIN = ROOT / 'tools' / 'train.py'
# What a process runs before it reports; {config} and {work_dir} are filled in.
CANDIDATES = {
    'tools/train.py --help': f"""
import contextlib, runpy
sys.argv = ['train.py', '--help']
with contextlib.suppress(SystemExit):
    runpy.run_path({str(TRAIN)!r}, run_name='__main__')
""",
    'import mmmask': 'import mmmask',
    'first iteration of a pre-training': f"""
import runpy
import mmmask.apis.train
from mmmask.engine.loops import ResumableTrainLoop
run_iter = ResumableTrainLoop.run_iter
def run_one(*arguments):
    run_iter(*arguments)
    report()
    os._exit(0)
ResumableTrainLoop.run_iter = run_one
sys.argv = ['train.py', {{config!r}}, '--work-dir', {{work_dir!r}}]
runpy.run_path({str(TRAIN)!r}, run_name='__main__')
""",
}
REPORT = """
import json, os, sys, time
def report():
    modules = sorted(sys.modules)
    with open('/proc/self/status') as status:
        memory = next(int(line.split()[1]) * 1024 for line in status if line.startswith('VmHWM'))
    print(json.dumps([modules, time.process_time(), memory]), flush=True)
"""
# The smallest pre-training on images in files.
CONFIG = f"""
_base_ = {str(ROOT / 'configs' / 'demo' / 'mae_vit-tiny_digits.py')!r}
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(
        _delete_=True,
        type='mmmask.ImageFolder',
        source={str(ROOT / 'demo' / 'clothing10.zip')!r},
        pipeline=[
            dict(type='mmmask.RandomResizedCrop', scale=64),
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
custom_hooks = [dict(type='mmmask.NonFiniteLossHook')]
"""


def start(candidate: str) -> tuple[list[str], float, int]:
    """A key of ``CANDIDATES`` -> the modules it imports, seconds of CPU time, peak memory in bytes.

    Raises:
        RuntimeError: if the process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, 'mae_vit-tiny.py')
        config.write_text(CONFIG)
        code = CANDIDATES[candidate]
        if '{config' in code:
            code = code.format(config=str(config), work_dir=str(Path(folder, 'run')))
        process = subprocess.run(
            [sys.executable, '-c', f'{REPORT}\n{code}\nreport()'],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
    if process.returncode:
        raise RuntimeError(f'{candidate} failed:\n{process.stderr}')
    modules, seconds, memory = json.loads(process.stdout.splitlines()[-1])
    return modules, seconds, memory


def startup_report(iters: int) -> Report:
    """Medians of ``iters`` processes of each candidate in turn; seconds are of CPU time."""
    rounds = [[start(candidate) for candidate in CANDIDATES] for _ in range(iters)]
    results = []
    for candidate, *runs in zip(CANDIDATES, *rounds, strict=True):
        modules, seconds, memory = zip(*runs, strict=True)
        ratio = median(own / run[0][1] for own, run in zip(seconds, rounds, strict=True))
        results.append(
            Result(
                candidate,
                median(seconds),
                ratio,
                None,
                peak_memory=max(memory),
                modules=len(modules[0]),
            )
        )
    return Report(results, describe_machine(torch.device('cpu')))
