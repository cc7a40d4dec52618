"""Fixtures and helpers of several suites."""

import argparse
import gc
import io
import json
import re
import shlex
import signal
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, DictAction
from mmengine.registry import DefaultScope
from PIL import Image
from torch.nn import functional as F

import mmmask.models  # noqa: F401  registers all models
from mmmask.apis import config_trial
from mmmask.apis.validate import ConfigError, validate_config
from mmmask.registry import MODELS

ROOT = Path(__file__).resolve().parent.parent
PREEMPTING = signal.SIGTERM, signal.SIGUSR1
DEMOS = sorted((ROOT / 'configs' / 'demo').glob('*.py'))
# A config of a classifier of three classes, without data.
SMALL_CLASSIFIER = """
default_scope = 'mmpretrain'
model = dict(
    type='mmpretrain.ImageClassifier',
    data_preprocessor=dict(mean=[127.0] * 3, std=[64.0] * 3, to_rgb=True, num_classes=3),
    backbone=dict(
        type='mmmask.MaskedVisionTransformer', img_size=32, patch_size=8, out_type='cls_token',
        arch=dict(embed_dims=32, num_layers=1, num_heads=2, feedforward_channels=64),
    ),
    neck=None,
    head=dict(type='mmpretrain.LinearClsHead', num_classes=3, in_channels=32, topk=(1,)),
)
"""


def pytest_collection_finish() -> None:
    """Keep what is imported out of the garbage collections that mmengine runs for each data set."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Name failures when they occur, as a run that is stopped prints no summary."""
    if (terminal := config.pluginmanager.get_plugin('terminalreporter')) is None:
        return  # a worker of xdist, whose reports the main process gets

    class Failures:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                crash = getattr(report.longrepr, 'reprcrash', None) or report.longreprtext
                terminal.ensure_newline()
                terminal.write_line(f'FAILED {report.nodeid}\n{crash}')

    config.pluginmanager.register(Failures())


@pytest.fixture(autouse=True)
def signals_of_preemption() -> Iterator[None]:
    """Give signals their handlers back; one that is blocked would let pools wait forever."""
    handlers = {number: signal.getsignal(number) for number in PREEMPTING}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(PREEMPTING)


def build_model(config: str | Path, seed: int = 0, **model):
    """The initialised model of a config, named from the folder ``configs/``, in training mode."""
    cfg = Config.fromfile(ROOT / 'configs' / config)
    cfg.model.update(model)
    torch.manual_seed(seed)
    built = MODELS.build(cfg.model)
    built.init_weights()
    return built.train()


def trainable(module: torch.nn.Module) -> int:
    """The number of trained parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def write_noise(folder: Path, height: int, width: int) -> None:
    """16 images of noise in two classes, eight in each."""
    random = np.random.default_rng(0)
    for index in range(16):
        path = folder / 'ab'[index % 2] / f'{index:02}.png'
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)


def resemble_clone(folder: Path, number: int) -> None:
    """Give a folder what a clone has, and ``photos``: images in each of two classes."""
    for name in ('configs', 'demo', 'tools'):
        (folder / name).symlink_to(ROOT / name)
    with zipfile.ZipFile(ROOT / 'demo' / 'clothing10.zip') as archive:
        for kind in ('dress', 'hat'):
            names = [name for name in archive.namelist() if name.startswith(f'{kind}/')]
            archive.extractall(folder / 'photos', names[:number])


def documented_ablations(readme: Path, heading: str) -> list[str]:
    """The options in the tables below a heading; `=x` repeats the option before it."""
    text = readme.read_text().split(heading)[1]
    cells = [line.split('|')[2] for line in text.splitlines() if line.count('|') == 3]
    options = []
    for code in (code for cell in cells for code in re.findall(r'`([^`]+)`', cell)):
        if code.startswith('='):
            options.append(options[-1].rsplit('=', 1)[0] + code)
        elif '=' in code:
            options.append(code)
    return sorted(options)


def with_options(cfg: Config, options: str) -> Config:
    """The config with ``--cfg-options`` as on the command line, which must change it."""
    before = cfg.to_dict()
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    cfg.merge_from_dict(parser.parse_args(['--cfg-options', *shlex.split(options)]).cfg_options)
    assert cfg.to_dict() != before
    return cfg


def errors_but_for_data(cfg: Config) -> list[str]:
    """The errors of a config, apart from images that are not on this machine."""
    try:
        validate_config(cfg)
    except ConfigError as error:
        lines = [line.removeprefix('  - ') for line in str(error).splitlines()[1:]]
        return [line for line in lines if 'give a folder or a .zip of images' not in line]
    return []


@pytest.fixture(autouse=True)
def no_scope_of_another_test():
    """Forget the default scope that a runner of mmdet or mmseg left behind."""
    DefaultScope._instance_dict.clear()


@pytest.fixture
def on_meta():
    """Builds a model from its config without memory for the weights."""

    def build(cfg):
        with config_trial.on_meta():
            return MODELS.build(cfg)

    return build


@pytest.fixture
def views() -> list[torch.Tensor]:
    """Two smooth views of eight images, each (8, 3, 64, 64)."""
    noise = torch.randn(2, 8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return [F.interpolate(view, size=64, mode='bicubic') for view in noise]


@pytest.fixture(scope='session')
def photographs() -> torch.Tensor:
    """(4, 3, 224, 224) photographs, normalised as the networks see them."""
    from skimage import data
    from skimage.transform import resize

    images = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    stack = torch.stack(
        [torch.from_numpy(resize(image, (224, 224), anti_aliasing=True)) for image in images]
    )
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((stack - mean) / std).permute(0, 3, 1, 2).float().contiguous()


def pack_images(folder, out, kind):
    """The images of a folder in two shards, in sorted order: tar archives, or Arrow tables.

    Those of class folders have their classes in files or in a column, as webdataset and the package
    datasets write them.
    """
    import pyarrow

    out.mkdir()
    paths = sorted(folder.rglob('*.png'))
    classes = sorted({path.parent.name for path in paths} if paths[0].parent != folder else [])
    for shard, part in enumerate((paths[: len(paths) // 2], paths[len(paths) // 2 :])):
        if kind == 'tars':
            with tarfile.open(out / f'train-{shard:04}.tar', 'w') as archive:
                for path in part:
                    name = f'{paths.index(path):04}'
                    archive.add(path, f'{name}.png')
                    if classes:
                        label = tarfile.TarInfo(f'{name}.cls')
                        label.size = len(path.parent.name)
                        archive.addfile(label, io.BytesIO(path.parent.name.encode()))
            continue
        image = pyarrow.array([dict(bytes=path.read_bytes(), path=path.name) for path in part])
        label = [classes.index(path.parent.name) if classes else -1 for path in part]
        features = dict(image=dict(_type='Image'), label=dict(_type='ClassLabel', names=classes))
        metadata = dict(huggingface=json.dumps(dict(info=dict(features=features))))
        table = pyarrow.table(dict(image=image, label=label), metadata=metadata)
        name = str(out / f'train-{shard:04}.arrow')
        with pyarrow.ipc.new_stream(name, table.schema) as writer:
            writer.write_table(table)
    return out
