"""The code in the documents runs: Python as it stands, commands up to the work of the tool."""

import argparse
import os
import re
import runpy
import subprocess
import sys

import pytest
from conftest import ROOT, errors_but_for_data, resemble_clone, with_options
from mmengine.config import Config
from PIL import Image
from test_docs import DOCUMENTS

from mmmask.apis.train import load_config, train
from mmmask.checkpoints import find_tensors, open_checkpoint
from mmmask.registry import MODELS

NOT_RUN = '# Not run here: '
FILE_NAME = re.compile(r'# (\w+\.py)\n')
BASE = re.compile(r"^_base_ = '(.+)'$", re.MULTILINE)


def blocks(document, language: str) -> list[str]:
    text = document.read_text()
    return re.findall(rf'^```{language}\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)


def documents_with(language: str):
    found = [path for path in DOCUMENTS if blocks(path, language)]
    return pytest.mark.parametrize('document', found, ids=lambda p: str(p.relative_to(ROOT)))


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with what a clone has, and ``photos``: 50 images in each of two classes."""
    resemble_clone(tmp_path, 50)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    registered, imported = dict(MODELS.module_dict), set(sys.modules)
    yield tmp_path
    MODELS._module_dict = registered
    for path in tmp_path.glob('*.py'):
        if path.stem not in imported:
            sys.modules.pop(path.stem, None)


def absolute_base(text: str, document) -> str:
    """A config whose base is relative to the repository or to the folder of the document."""

    def found(base: re.Match) -> str:
        (path,) = [path for path in (ROOT, document.parent) if (path / base[1]).exists()]
        return f'_base_ = {str(path / base[1])!r}'

    return BASE.sub(found, text)


@documents_with('python')
def test_python_runs(document, workplace):
    """In one namespace. A first line names a file to write, or says why a block is not run."""
    namespace = {'__name__': 'snippet'}
    for number, code in enumerate(blocks(document, 'python')):
        name = FILE_NAME.match(code)
        file = workplace / (name[1] if name else f'snippet_{number}.py')
        if code.startswith(NOT_RUN):
            assert len(code.splitlines()[0]) > len(NOT_RUN) + 10
        elif BASE.search(code):
            file.write_text(absolute_base(code, document))
            assert errors_but_for_data(Config.fromfile(file)) == []
        elif name:
            file.write_text(code)
        else:
            exec(compile(code, f'{document.name}, block {number}', 'exec'), namespace)


RECORDER = '#!/bin/bash\n(IFS=$\'\\x1f\'; printf "%s\\n" "$0$IFS$*") >> "$RECORD"\n'


def recorded_commands(code: str, folder) -> list[list[str]]:
    """The commands with arguments that bash would start, in a folder without any real one."""
    (folder / 'bin').mkdir()
    (folder / 'tools').mkdir()
    names = [
        'bin/python',
        'bin/mmmask',
        *(f'tools/{path.name}' for path in (ROOT / 'tools').iterdir()),
    ]
    for name in names:
        (folder / name).write_text(RECORDER)
        (folder / name).chmod(0o755)
    record = folder / 'record'
    environment = dict(PATH=str(folder / 'bin'), HOME=str(folder), RECORD=str(record))
    subprocess.run(['/bin/bash', '-c', code], cwd=folder, env=environment, capture_output=True)
    lines = record.read_text().splitlines() if record.exists() else []
    return [line.split('\x1f') for line in lines]


def as_python(program: str, *words: str) -> list[str]:
    """The tool and arguments of a command; launchers pass theirs on to ``tools/train.py``."""
    name = os.path.basename(program)
    if name == 'python':
        return [word for word in words if word]
    if name == 'mmmask':
        return ['mmmask/__main__.py', *words]
    if name == 'dist_train.sh':
        config, _, *options = words
        return ['tools/train.py', config, *options]
    if name == 'slurm_train.sh':
        _, _, *options = words
        return ['tools/train.py', *options]
    return [f'tools/{name}', *words]


class Accepted(BaseException):
    """Raised in place of a tool's work, once it has parsed its arguments."""


@documents_with('shell')
def test_tools_accept_the_commands(document, tmp_path, monkeypatch):
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self, *args, **kwargs):
        parse(self, *args, **kwargs)
        raise Accepted

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', parse_and_stop)
    for number, code in enumerate(blocks(document, 'shell')):
        folder = tmp_path / str(number)
        folder.mkdir()
        for command in recorded_commands(code, folder):
            tool, *words = as_python(*command)
            if not tool.startswith(('tools/', 'mmmask/')) or not tool.endswith('.py'):
                continue
            monkeypatch.setattr(sys, 'argv', [tool, *words])
            with pytest.raises((Accepted, SystemExit)) as stopped:
                runpy.run_path(str(ROOT / tool))['main']()
            assert stopped.type is Accepted, f'{tool} refuses {words}'


@pytest.fixture
def extended(workplace):
    """The files that the page on extending asks the reader to save."""
    for code in blocks(ROOT / 'docs' / 'extend.md', 'python'):
        if name := FILE_NAME.match(code):
            (workplace / name[1]).write_text(code)
    return workplace


def test_the_method_of_the_page_trains(extended):
    quick = {
        'train_dataloader.batch_size': 40,
        'train_dataloader.num_workers': 0,
        'custom_hooks': [],
        'visualizer.vis_backends': [],
        'log_level': 'WARNING',
    }
    train(load_config('my_config.py', quick, amp='off', data=['photos'], epochs=1))
    weights = find_tensors(open_checkpoint('work_dirs/my_config/epoch_1.pth'), '')
    widths = [value.shape[0] for name, value in weights.items() if name.startswith('neck')]
    assert 2 * 2 * 3 in widths  # colours of the cells of a patch


@pytest.mark.parametrize(
    ('option', 'message'),
    [('cells=3', 'must divide the patch size, 8'), ('cell=2', "did you mean 'cells'")],
)
def test_mistakes_of_the_page_on_extending_are_reported(extended, option, message):
    cfg = Config.fromfile('my_config.py')
    (error,) = errors_but_for_data(with_options(cfg, f'model.target_generator.{option}'))
    assert message in error


def test_the_first_five_minutes_work(workplace, tmp_path_factory, monkeypatch):
    for number, code in enumerate(blocks(ROOT / 'docs' / 'start.md', 'shell')):
        if code.startswith(NOT_RUN):
            continue
        for command in recorded_commands(code, tmp_path_factory.mktemp(f'block{number}')):
            tool, *words = as_python(*command)
            monkeypatch.setattr(sys, 'argv', [tool, *words])
            runpy.run_path(str(ROOT / tool))['main']()
    width, height = Image.open('photos.png').size
    assert width > 500 and height > 300
    names = find_tensors(open_checkpoint('backbone.pth'), 'backbone.pth')
    assert names['backbone.layers.11.ln1.weight'].shape == (192,)
