"""What a run logs arrives in each tracker of docs/trackers.md, without network."""

import json
import re
import shlex
from collections import OrderedDict

import numpy as np
import pytest
from conftest import ROOT
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.visualization import Visualizer
from PIL import Image

import mmmask.engine  # noqa: F401  registers the backend for MLflow
from mmmask.front import main

TEXT = (ROOT / 'docs/trackers.md').read_text()
BLOCKS = dict(re.findall(r'## ([^\n]+)\n\n```python\n(.*?)```', TEXT, re.DOTALL))
PICTURE = np.full((8, 12, 3), (255, 0, 128), np.uint8)


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Return a function that logs to the tracker of a section of the page, and its folder."""
    monkeypatch.setenv('WANDB_SILENT', 'true')
    monkeypatch.chdir(tmp_path)
    # The logger of another test writes to a stream that is closed, which mmengine cannot reopen.
    monkeypatch.setattr(MMLogger, '_instance_dict', OrderedDict())

    def run(section):
        cfg = Config.fromfile(ROOT / 'configs/demo/mae_vit-tiny_digits.py')
        cfg.merge_from_dict(dict(visualizer=Config.fromstring(BLOCKS[section], '.py').visualizer))
        cfg.work_dir = str(tmp_path)
        backends = cfg.visualizer.vis_backends
        visualizer = Visualizer(vis_backends=backends, save_dir=str(tmp_path / 'run'))
        visualizer.add_config(cfg)
        visualizer.add_scalars(dict(loss=0.5, lr=0.001), step=10)
        visualizer.add_scalar('knn_top1', 42.0, step=20)
        visualizer.add_image('reconstruction', PICTURE, step=20)
        visualizer.close()
        return tmp_path / 'run' / 'vis_data'

    return run


def is_the_picture(path):
    return np.array_equal(np.asarray(Image.open(path).convert('RGB')), PICTURE)


def test_tensorboard(log):
    accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator',
        reason='pip install mmmask[trackers]',
    )
    events = accumulator.EventAccumulator(str(log('TensorBoard')))
    events.Reload()
    values = {name: [(e.step, e.value) for e in events.Scalars(name)] for name in ('loss', 'lr')}
    assert values == dict(loss=[(10, 0.5)], lr=[(10, pytest.approx(0.001))])
    assert [(e.step, e.value) for e in events.Scalars('knn_top1')] == [(20, 42.0)]
    (picture,) = events.Images('reconstruction')
    assert (picture.step, picture.width, picture.height) == (20, 12, 8)


def test_weights_and_biases(log, monkeypatch):
    wandb = pytest.importorskip('wandb', reason='pip install mmmask[trackers]')
    (folder,) = (log('Weights & Biases') / 'wandb').glob('offline-run-*')
    wandb.teardown()  # as at the end of a process: waits until everything is written
    (picture,) = folder.glob('files/media/images/reconstruction*.png')
    assert is_the_picture(picture)
    # Records are protocol buffers: a key, two or three bytes, and the value as JSON.
    records = next(folder.glob('*.wandb')).read_bytes()
    for name, value in ((b'loss', b'0.5'), (b'lr', b'0.001'), (b'knn_top1', b'42')):
        assert re.search(name + rb'.{2,3}' + re.escape(value), records, re.DOTALL)


def test_mlflow(log):
    pytest.importorskip('mlflow', reason='pip install mmmask[trackers]')
    from mlflow.tracking import MlflowClient

    folder = log('MLflow')
    client = MlflowClient(folder.as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name('pre-training').experiment_id])
    assert run.info.run_name == 'first'
    assert run.data.params['model.backbone.patch_size'] == '8'
    for name, step, value in (('loss', 10, 0.5), ('lr', 10, 0.001), ('knn_top1', 20, 42.0)):
        history = client.get_metric_history(run.info.run_id, name)
        assert [(metric.step, metric.value) for metric in history] == [(step, value)]
    pictures = [path for path in folder.rglob('reconstruction*.png') if 'step' in path.name]
    assert len(pictures) == 1 and is_the_picture(pictures[0])


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Trains one step with ``mmmask pretrain`` and options -> loss of scalars.json, its folder."""
    monkeypatch.setenv('WANDB_SILENT', 'true')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.chdir(tmp_path)
    for index in range(8):
        image = np.random.default_rng(index).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        (tmp_path / 'images').mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / 'images' / f'{index}.png')

    def run(*options):
        words = 'pretrain --data images --out run --model vit-tiny-p8 --epochs 1 --batch-size 6'
        main.main([*shlex.split(words), '--workers', '0', *options])
        (path,) = tmp_path.glob('run/*/vis_data/scalars.json')
        lines = map(json.loads, path.read_text().splitlines())
        (line,) = [line for line in lines if 'loss' in line]
        assert line['step'] == 1 and line['loss'] > 0
        return line['loss'], path.parent

    return run


def second_backend(name):
    return '--cfg-options', f'visualizer.vis_backends.1.type={name}'


def test_a_training_with_tensorboard(trained):
    accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator',
        reason='pip install mmmask[trackers]',
    )
    loss, folder = trained()
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars('loss')]
    assert found == [(1, pytest.approx(loss, rel=1e-6))]  # in fp32


def test_a_training_with_weights_and_biases(trained):
    wandb = pytest.importorskip('wandb', reason='pip install mmmask[trackers]')
    loss, folder = trained(*second_backend('WandbVisBackend'))
    (run,) = (folder / 'wandb').glob('offline-run-*')
    wandb.teardown()  # as at the end of a process: waits until everything is written
    (records,) = run.glob('*.wandb')
    # A protocol buffer: a key, two or three bytes, and the value as JSON.
    value = rb'\bloss.{2,3}' + re.escape(json.dumps(loss).encode())
    assert re.search(value, records.read_bytes(), re.DOTALL)


def test_a_training_with_mlflow(trained):
    pytest.importorskip('mlflow', reason='pip install mmmask[trackers]')
    from mlflow.tracking import MlflowClient

    loss, folder = trained(*second_backend('mmmask.MLflowVisBackend'))
    client = MlflowClient(folder.as_uri())
    (run,) = client.search_runs([one.experiment_id for one in client.search_experiments()])
    history = client.get_metric_history(run.info.run_id, 'loss')
    assert [(metric.step, metric.value) for metric in history] == [(1, loss)]
