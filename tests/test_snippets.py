"""The Python code in the documents runs as it stands."""

import re
import sys
import textwrap

import pytest
from conftest import ROOT, errors_but_for_data, resemble_clone, with_options
from mmengine.config import Config
from test_docs import DOCUMENTS

from mmmask.apis.train import load_config, train
from mmmask.checkpoints import find_tensors, open_checkpoint
from mmmask.registry import MODELS

NOT_RUN = '# Not run here: '
FILE_NAME = re.compile(r'# (\w+\.py)\n')
BASE = re.compile(r"^_base_ = '(.+)'$", re.MULTILINE)


def blocks(document, language: str) -> list[str]:
    text = document.read_text()
    found = re.findall(rf'^( *)```{language}\n(.*?)^\1```$', text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in found]


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
