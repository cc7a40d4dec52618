"""What people type, and the one sentence that they get for it, from the command lines."""

import io
import os
import runpy
import socket
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest
import torch
from conftest import ROOT
from PIL import Image

from mmmask.apis import train as apis
from mmmask.apis.train import join_processes, load_config

DEMO = 'configs/demo/mae_vit-tiny_digits.py'
LADDER = 'configs/demo/ladder/maskdeep-m0_resnet-18_tiny-imagenet.py'
TINY = [
    f'model.backbone.arch.{key}={value}'
    for key, value in dict(
        embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=32
    ).items()
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two classes of two images each to train and to validate with."""
    for part in ('train', 'val'):
        for name in 'ab':
            (tmp_path / 'images' / part / name).mkdir(parents=True)
            for index in range(2):
                file = tmp_path / 'images' / part / name / f'{index}.png'
                Image.new('RGB', (32, 32), (90, 90, index)).save(file)
    (tmp_path / 'file').write_text('')
    torch.save(dict(a=torch.zeros(3)), tmp_path / 'wrong.pth')
    torch.save(dict(state_dict={'backbone.cls_token': torch.zeros(1, 1, 8)}), tmp_path / 'bare.pth')
    monkeypatch.setenv('DATA', str(tmp_path / 'images'))
    monkeypatch.setenv('HOME', str(tmp_path))
    return tmp_path


def sentence(monkeypatch, tool, *words) -> tuple[int, str]:
    """Exit code and message of a command line, run in this process."""
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, words)])
    text, log = io.StringIO(), io.StringIO()
    with (
        redirect_stderr(text),
        redirect_stdout(log),
        pytest.raises(SystemExit) as leave,
    ):
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
    assert 'Traceback' not in text.getvalue() + log.getvalue()
    return leave.value.code, text.getvalue()


TRAININGS = {
    'frozen layers': ([DEMO], ['model.backbone.frozen_stages=99'],
                      'model.backbone.frozen_stages=99 must be at most 6 for this network'),
    'beyond a list': ([DEMO], ['train_dataloader.dataset.pipeline.7.scale=3'],
                      "train_dataloader.dataset.pipeline is a list of 2 entries and has no '7'"),
    'below a number': ([DEMO], ['train_cfg.max_epochs.x=3'], 'do not fit the config: max_epochs='),
    'a folder in a file': ([DEMO, '--work-dir', '{}/file/x'], [],
                           "work_dir='{}/file/x': {}/file is a file: choose another folder."),
    'a home folder': ([DEMO, '--work-dir', '~/file/x'], [],
                      "work_dir='{}/file/x': {}/file is a file: choose another folder."),
    'text for a dict': ([DEMO], ['visualizer.vis_backends=[WandbVisBackend]'],
                        'visualizer.vis_backends.0=\'WandbVisBackend\' must be a dict: on the'),
    'bare weights': ([DEMO, '--resume', '{}/bare.pth'], [],
                     '{}/bare.pth cannot be resumed'),
    'half precision': ([DEMO, '--amp', 'fp16'], [],
                       "amp='fp16' needs a GPU: choose 'bf16' or 'off' on a CPU."),
    'several values for one': ([DEMO], ['a.b'], "must be KEY=VALUE pairs"),
    'several folders': (
        ['configs/mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'],
        ['train_dataloader.dataset.source=[a,b]'],
        "source=['a', 'b'] must be one folder or .zip file: combine several data sets",
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', TRAININGS)
def test_trainings(case, folder, monkeypatch):
    monkeypatch.chdir(ROOT)
    words, options, expected = TRAININGS[case]
    words = [word.replace('{}', str(folder)) for word in words]
    if '--work-dir' not in words:
        words += ['--work-dir', folder / 'work']
    options += ['train_dataloader.num_workers=0']
    code, text = sentence(monkeypatch, 'train.py', *words, '--cfg-options', *options)
    assert code in (1, 2)
    assert expected.replace('{}', str(folder)) in text


@pytest.mark.parametrize(
    ('config', 'most'),
    [
        ('imagenet/resnet-50_finetune-10percent_8xb32-amp-coslr-20e_in1k', 4),
        ('imagenet/swin-base_localmim-100e_8xb128-amp-coslr-100e_in1k', 3),
    ],
)
def test_other_networks_freeze_as_many_stages_as_they_have(config, most):
    path = ROOT / f'configs/downstream/{config}.py'
    message = f'model.backbone.frozen_stages={most + 1} must be at most {most} for this network'
    with pytest.raises(ValueError, match=message):
        load_config(path, options={'model.backbone.frozen_stages': most + 1})
    with pytest.raises(ValueError, match='imagenet') as error:  # whose images are not here
        load_config(path, options={'model.backbone.frozen_stages': most})
    assert 'frozen_stages' not in str(error.value)


def test_a_demo_with_a_smaller_set_of_images(folder, monkeypatch):
    """Its indices are for another set. ``--data`` leaves them out."""
    monkeypatch.chdir(ROOT)
    source = folder / 'images'
    options = [f'train_dataloader.dataset.source={source}', 'custom_hooks=[]']
    words = [LADDER, '--work-dir', folder / 'work', '--cfg-options', *options]
    code, text = sentence(monkeypatch, 'train.py', *words)
    assert code == 2
    assert (
        'train_dataloader.dataset: indices contain 4996 numbers outside of the 4 images in '
        f'{source / "train"}, such as 4: they are for another data set. Set indices=None, '
        'or give the folder by --data.'
    ) in text
    assert not (folder / 'work').exists()
    cfg = load_config(ROOT / LADDER, data=[str(source)], work_dir=str(folder / 'work'))
    assert 'indices' not in cfg.train_dataloader.dataset


TESTS = {
    'a wrong file': (['--pretrained', '{}/wrong.pth'], ['test_cfg.k=2'], 'wrong.pth'),
    'no file': (['--pretrained', '{}/none.pth'], ['test_cfg.k=2'], 'none.pth'),
    'nothing that may lack': (
        ['--allow-missing'],
        [],
        '--allow-missing is about the file of --pre',
    ),
    'too many neighbours': ([], ['test_cfg.k=5'], 'test_cfg.k=(5,) must lie between 1 and the 4 i'),
    'neighbours in words': ([], ['test_cfg.k=many'], "test_cfg.k=('m', 'a', 'n', 'y') must lie"),
}


@pytest.mark.parametrize('case', TESTS)
def test_tests(case, folder, monkeypatch):
    monkeypatch.chdir(ROOT)
    words, options, expected = TESTS[case]
    words = [word.replace('{}', str(folder)) for word in words]
    options = [*TINY, *options, 'test_dataloader.num_workers=0', f'experiment_name={case[-4:]}']
    code, text = sentence(
        monkeypatch, 'test.py', 'configs/downstream/tiny_imagenet/vit-tiny-p8_knn_tiny-imagenet-'
        '64px.py', '--work-dir', folder / 'work', *words, '--cfg-options', *options,
        f'test_dataloader.dataset.source={folder / "images"}',
        f'test_cfg.bank.source={folder / "images"}',
    )  # fmt: skip
    assert code in (1, 2)
    assert expected in text


def test_a_visualizer_whose_package_is_missing_or_refuses(folder, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(sys.modules, 'wandb', None)
    options = ['visualizer.vis_backends.0.type=WandbVisBackend', 'experiment_name=wandb']
    words = [DEMO, '--work-dir', folder / 'work', '--cfg-options', *options]
    code, text = sentence(monkeypatch, 'train.py', *words)
    assert code == 2 and 'pip install wandb' in text

    refused = type('UsageError', (Exception,), dict(__module__='wandb.errors'))
    message = 'vis_backends: wandb cannot start: No key. To do without'
    with pytest.raises(ValueError, match=message), apis.explained_loggers():
        raise refused('No key.')
    with pytest.raises(KeyError), apis.explained_loggers():
        raise KeyError('bug')


# Devices and ports


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '9')
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES='9' names no GPU that PyTorch can"):
        apis.check_devices()
    for value in ('', '-1'):
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', value)
        apis.check_devices()
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    monkeypatch.setenv('LOCAL_RANK', '1')
    with pytest.raises(ValueError, match='process 1 .* has no GPU, because 1 are visible'):
        join_processes()


def test_a_port_in_use(folder, monkeypatch):
    """Also below a launcher, the command line ends in one sentence."""
    monkeypatch.chdir(ROOT)
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        for key, value in dict(
            MASTER_ADDR='127.0.0.1', MASTER_PORT=port, RANK=0, LOCAL_RANK=0, WORLD_SIZE=1
        ).items():
            monkeypatch.setenv(key, str(value))
        for key in [key for key in os.environ if key.startswith('TORCHELASTIC_')]:
            monkeypatch.delenv(key)
        code, text = sentence(
            monkeypatch, 'train.py', DEMO, '--launcher', 'pytorch', '--work-dir', folder / 'work'
        )
    assert code == 2
    assert f'the processes cannot connect at 127.0.0.1:{port} (' in text
    assert 'set MASTER_PORT to a free port' in text
