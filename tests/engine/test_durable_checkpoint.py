"""Checkpoints are complete or absent, found again, kept, and opened as data everywhere."""

import errno
import os
import resource
import subprocess
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from mmengine.runner.checkpoint import load_from_local
from torch import nn

from mmmask.apis.train import build_runner, set_defaults
from mmmask.checkpoints import (
    CheckpointError,
    checksum_of,
    loading,
    open_checkpoint,
    read_checkpoints_as_data,
    why_not_intact,
    write_checkpoint,
    write_with_checksum,
)
from mmmask.engine.hooks import DurableCheckpointHook
from mmmask.engine.hooks.durable_checkpoint import find_intact_checkpoint


class Logger:
    """Keeps its messages."""

    def __init__(self):
        self.lines = []
        self.info = self.warning = self.lines.append


class Reduced:
    """An object that is pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def save(folder: Path, name: str, value: float, age: int = 0) -> Path:
    """A checkpoint with its checksum, written ``age`` seconds ago."""
    path = folder / name
    torch.save(dict(state_dict=dict(weight=torch.full((64,), value))), folder / 'content')
    write_with_checksum(path, (folder / 'content').read_bytes())
    (folder / 'content').unlink()
    moment = path.stat().st_mtime - age
    os.utime(path, (moment, moment))
    return path


class TestWriting:
    def test_checksum_is_that_of_the_system_tool(self, tmp_path):
        path = save(tmp_path, 'epoch_1.pth', 1.0)
        assert sorted(os.listdir(tmp_path)) == ['epoch_1.pth', 'epoch_1.pth.sha256']
        checked = subprocess.run(
            ['sha256sum', '-c', 'epoch_1.pth.sha256'], cwd=tmp_path, capture_output=True, text=True
        )
        assert checked.stdout == 'epoch_1.pth: OK\n'
        assert why_not_intact(path) is None

    def test_a_full_disk_leaves_what_was_there(self, tmp_path):
        """The operating system refuses the second half of the file."""
        path = save(tmp_path, 'epoch_1.pth', 1.0)
        before = path.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
        try:
            with pytest.raises(OSError, match='nothing was written.*Free space.*epoch_1') as caught:
                write_with_checksum(path, bytes(10_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert caught.value.errno == errno.EFBIG
        assert path.read_bytes() == before and why_not_intact(path) is None
        assert [name for name in os.listdir(tmp_path) if name.endswith('.part')] == []

    def test_a_folder_that_cannot_be_written_says_so(self, tmp_path):
        (tmp_path / 'file').touch()
        with pytest.raises(OSError, match='make the folder writable'):
            write_checkpoint(dict(w=torch.ones(1)), tmp_path / 'file' / 'x.pth')

    def test_nothing_is_renamed_before_it_is_on_the_disk(self, tmp_path, monkeypatch):
        calls = []
        for name in ('fsync', 'replace'):
            real = getattr(os, name)
            monkeypatch.setattr(
                os, name, lambda *a, real=real, name=name: (calls.append(name), real(*a))[1]
            )
        write_with_checksum(tmp_path / 'x', b'content')
        assert calls == ['fsync', 'replace', 'fsync'] * 2


class TestFinding:
    def find(self, folder):
        logger = Logger()
        return find_intact_checkpoint(folder, logger), '\n'.join(logger.lines)

    def test_what_the_pointer_names(self, tmp_path):
        named = save(tmp_path, 'epoch_1.pth', 1.0, age=9)
        save(tmp_path, 'epoch_2.pth', 2.0)
        (tmp_path / 'last_checkpoint').write_text(str(named))
        assert self.find(tmp_path)[0] == str(named)

    @pytest.mark.parametrize('damage', ['truncate', 'flip', 'empty', 'remove'])
    def test_the_newest_intact_one_and_the_log_says_so(self, tmp_path, damage):
        save(tmp_path, 'epoch_1.pth', 1.0, age=9)
        second = save(tmp_path, 'iter_20.pth', 2.0, age=5)
        last = save(tmp_path, 'epoch_3.pth', 3.0)
        (tmp_path / 'last_checkpoint').write_text(str(last))
        content = last.read_bytes()
        if damage == 'remove':
            last.unlink()
        else:
            flipped = content[:900] + bytes([content[900] ^ 1]) + content[901:]
            last.write_bytes(dict(truncate=content[:-1], flip=flipped, empty=b'')[damage])
        found, log = self.find(tmp_path)
        assert found == str(second)
        reason = 'it is missing' if damage == 'remove' else 'its checksum differs'
        assert f'Skipping the checkpoint {last}: {reason}' in log
        assert f'Resuming from {second}' in log

    def test_without_checksum_by_opening(self, tmp_path):
        first, last = save(tmp_path, 'epoch_1.pth', 1.0, age=9), save(tmp_path, 'epoch_2.pth', 2.0)
        for path in (first, last):
            checksum_of(path).unlink()
        assert self.find(tmp_path)[0] == str(last)
        last.write_bytes(last.read_bytes()[:-100])
        found, log = self.find(tmp_path)
        assert found == str(first) and 'truncated' in log

    def test_a_torn_pointer_does_not_matter(self, tmp_path):
        last = save(tmp_path, 'epoch_2.pth', 2.0)
        (tmp_path / 'last_checkpoint').write_text(str(last)[:-9])
        assert self.find(tmp_path)[0] == str(last)

    def test_none_is_intact(self, tmp_path):
        save(tmp_path, 'epoch_2.pth', 2.0).write_bytes(b'torn')
        with pytest.raises(CheckpointError, match='none of the 1 .* without --resume'):
            self.find(tmp_path)

    def test_there_is_none(self, tmp_path):
        save(tmp_path, 'best_accuracy_epoch_2.pth', 2.0)
        found, log = self.find(tmp_path)
        assert found is None and 'starting from the beginning' in log


class Run:
    """What a checkpoint hook needs from a runner to choose and remove the best."""

    def __init__(self, work_dir):
        self.work_dir, self.epoch, self.iter = str(work_dir), 0, 0
        self.logger = MMLogger.get_instance('best')
        self.message_hub = self
        self.runtime_info, self.full = {}, False

    def update_info(self, name, value):
        self.runtime_info[name] = value

    def get_info(self, name):
        return self.runtime_info[name]

    def save_checkpoint(self, folder, filename, **kwargs):
        if self.full:
            raise OSError(errno.ENOSPC, 'No space left on device')
        write_with_checksum(Path(folder, filename), b'weights')


@pytest.mark.parametrize('metrics', [['accuracy'], ['accuracy', 'loss']])
def test_the_former_best_goes_after_the_new_one_is_there(tmp_path, metrics):
    hook = DurableCheckpointHook(save_best=metrics, rule=['greater', 'less'][: len(metrics)])
    run = Run(tmp_path)
    hook.before_train(run)

    def best():
        return sorted(path.name for path in tmp_path.glob('best*.pth'))

    def evaluate(epoch, **values):
        run.epoch = epoch
        hook._save_best_checkpoint(run, {name: values[name] for name in metrics})

    losses = len(metrics) - 1
    evaluate(1, accuracy=0.5, loss=2.0)
    evaluate(2, accuracy=0.4, loss=3.0)
    assert best() == ['best_accuracy_epoch_1.pth', 'best_loss_epoch_1.pth'][: 1 + losses]
    evaluate(3, accuracy=0.6, loss=2.5)
    assert best() == ['best_accuracy_epoch_3.pth', 'best_loss_epoch_1.pth'][: 1 + losses]
    assert len(list(tmp_path.glob('*.sha256'))) == 1 + losses
    run.full = True
    with pytest.raises(OSError, match='No space left'):
        evaluate(4, accuracy=0.7, loss=1.0)
    assert best() == ['best_accuracy_epoch_3.pth', 'best_loss_epoch_1.pth'][: 1 + losses]


class TestUntrustedFiles:
    """However mmengine opens a file, nothing in it is executed."""

    @pytest.fixture(autouse=True)
    def as_data(self, monkeypatch):
        monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
        read_checkpoints_as_data()

    @pytest.fixture
    def evil(self, tmp_path):
        path, trace = tmp_path / 'evil.pth', tmp_path / 'trace'
        torch.save({'state_dict': {'x': Reduced(os.system, f'touch {trace}')}}, path)
        yield path
        assert not trace.exists()
        torch.load(path, weights_only=False)  # the trap works
        assert trace.exists()

    def test_load_from_and_resume(self, evil):
        with pytest.raises(CheckpointError, match='was refused'):
            load_checkpoint(nn.Linear(1, 1), str(evil))

    def test_pretrained(self, evil):
        from mmengine.model import BaseModule

        class Network(BaseModule):
            def __init__(self):
                super().__init__(init_cfg=dict(type='Pretrained', checkpoint=str(evil)))
                self.layer = nn.Linear(1, 1)

        with pytest.raises(CheckpointError, match='was refused'):
            Network().init_weights()

    def test_from_the_web(self, evil, tmp_path, monkeypatch):
        monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
        monkeypatch.setattr(
            torch.hub,
            'download_url_to_file',
            lambda url, target, progress: Path(target).write_bytes(evil.read_bytes()),
        )
        monkeypatch.setattr(
            loading.mmengine_checkpoint, 'get_external_models', lambda: dict(evil='https://x/e.pth')
        )
        for address in ('https://host.example/evil.pth?x=1', 'open-mmlab://evil'):
            with pytest.raises(CheckpointError, match='was refused'):
                CheckpointLoader.load_checkpoint(address)
        with pytest.raises(CheckpointError, match='mmcls://none is not a known checkpoint'):
            CheckpointLoader.load_checkpoint('mmcls://none')
        with pytest.raises(CheckpointError, match='copy it to a file'):
            CheckpointLoader.load_checkpoint('s3://bucket/evil.pth')

    def test_what_is_kept_for_replay_is_data(self, evil, tmp_path):
        with pytest.raises(CheckpointError, match='was refused'):
            open_checkpoint(evil)

    def test_a_config_in_a_checkpoint_is_not_run(self, tmp_path):
        """mmengine would run ``meta.config`` on resuming."""
        trace = tmp_path / 'trace'
        meta = dict(config=f'open({str(trace)!r}, "w")', cfg='import os', epoch=1, iter=2)
        torch.save(dict(meta=meta, state_dict={}), tmp_path / 'x.pth')
        loaded = CheckpointLoader.load_checkpoint(str(tmp_path / 'x.pth'))
        assert loaded['meta'] == dict(cfg='import os', epoch=1, iter=2)
        assert not trace.exists()

    def test_safetensors_come_in_by_every_way(self, tmp_path):
        network, other = nn.Linear(2, 3), nn.Linear(2, 3)
        write_checkpoint(dict(state_dict=network.state_dict()), tmp_path / 'x.safetensors')
        load_checkpoint(other, str(tmp_path / 'x.safetensors'))
        assert torch.equal(other.weight, network.weight) and torch.equal(other.bias, network.bias)

    def test_every_way_of_mmengine_uses_these_loaders(self):
        loaders = {loader.__module__ for loader in CheckpointLoader._schemes.values()}
        assert loaders == {'mmmask.checkpoints.loading'}


@pytest.mark.parametrize('kind', ['plain', 'init_cfg', 'load_from', 'resume'])
def test_every_run_reads_checkpoints_as_data(tmp_path, monkeypatch, kind):
    """This also holds for mmengine's own runner with our default hook."""
    path, trace = tmp_path / 'evil.pth', tmp_path / 'trace'
    torch.save({'state_dict': {'x': Reduced(os.system, f'touch {trace}')}}, path)
    monkeypatch.setattr(CheckpointLoader, '_schemes', {'': load_from_local})
    cfg = Config.fromfile(ROOT / 'configs/demo/mae_vit-tiny_digits.py')
    cfg.work_dir, cfg.launcher = str(tmp_path / 'run'), 'none'
    set_defaults(cfg)
    if kind == 'init_cfg':
        cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(path))
    elif kind != 'plain':
        cfg.load_from, cfg.resume = str(path), kind == 'resume'
    if kind == 'plain':
        build_runner(cfg)
        loaders = {loader.__module__ for loader in CheckpointLoader._schemes.values()}
        assert loaders == {'mmmask.checkpoints.loading'}
    else:
        runner = Runner.from_cfg(cfg)
        with pytest.raises(CheckpointError, match='was refused'):
            runner.train()
    assert not trace.exists()


def test_a_flipped_bit_is_found_without_a_checksum_file(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    values = torch.arange(4096.0)
    write_checkpoint(dict(state_dict=dict(weight=values)), path)
    assert why_not_intact(path) is None
    content = bytearray(path.read_bytes())
    content[content.find(values.numpy().tobytes()[400:800])] ^= 1
    path.write_bytes(content)
    torch.load(path)  # which does not notice it
    assert why_not_intact(path).startswith('the checksum of its record archive/data/0 differs')
