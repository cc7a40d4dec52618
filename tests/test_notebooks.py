"""The notebooks run, on fewer and smaller images than they are written for."""

import ast
import csv
import json
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, resemble_clone
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = sorted((ROOT / 'notebooks').glob('*.ipynb'))
SMALL = dict(
    pretrain=dict(data='photos', epochs=2),
    features=dict(data='photos', epochs=2, num_neighbours=5),
    detector=dict(num_train=8, num_val=4, epochs=1),
)


def run(name: str, folder) -> list[dict]:
    """Run a notebook in a folder with other values; returns its code cells with their outputs."""
    notebook = nbformat.read(ROOT / 'notebooks' / f'{name}.ipynb', as_version=4)
    (parameters,) = (c for c in notebook.cells if 'parameters' in c.metadata.get('tags', ()))
    given = {
        node.id for node in ast.walk(ast.parse(parameters.source)) if isinstance(node, ast.Name)
    }
    assert set(SMALL[name]) <= given
    values = [f'{key} = {value!r}' for key, value in SMALL[name].items()]
    parameters.source = '\n'.join([parameters.source, *values])
    NotebookClient(
        notebook, timeout=300, kernel_name='python3', resources=dict(metadata=dict(path=folder))
    ).execute()
    return [cell for cell in notebook.cells if cell.cell_type == 'code']


def printed(cells) -> str:
    outputs = (output for cell in cells for output in cell.outputs)
    return ''.join(output.get('text', '') for output in outputs)


def pictures(cells) -> int:
    outputs = (output for cell in cells for output in cell.outputs)
    return sum('image/png' in output.get('data', {}) for output in outputs)


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder with what a clone has and 60 photographs of each of two classes."""
    folder = tmp_path_factory.mktemp('notebooks')
    resemble_clone(folder, 60)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv('PYTHONPATH', str(ROOT))
        environment.setenv('OMP_NUM_THREADS', '1')
        yield folder


@pytest.fixture(scope='module')
def pretrained(place):
    return run('pretrain', place)


def test_pretraining(pretrained, place):
    assert pictures(pretrained) == 3  # the loss, masks, predictions
    assert (place / 'work_dirs' / 'notebook' / 'backbone.pth').exists()


def test_looking_at_features(pretrained, place):
    photograph = min((place / 'photos' / 'dress').iterdir())
    copy = place / 'photos' / 'hat' / 'copy.jpg'
    Image.open(photograph).save(copy, quality=95)
    cells = run('features', place)
    scores = [line.split() for line in printed(cells).splitlines() if 'k-NN' in line]
    assert [line[0] for line in scores] == ['raw', 'random', 'pre-trained']
    assert all(40 <= float(line[-1]) <= 100 for line in scores)  # two classes
    # Components, attention, loss, neighbours, t-SNE, duplicates.
    assert [pictures([cell]) for cell in cells if pictures([cell])] == [1, 2, 2, 1]
    listed = printed(cells[-1:]).partition('similarity,first,second,')[2].splitlines()
    similarity, *names = next(csv.reader(listed[1:]))
    assert float(similarity) > 0.99
    assert [Path(name).name for name in names] == [photograph.name, copy.name]


def test_finetuning_a_detector(pretrained, place):
    cells = run('detector', place)
    assert 'MaskRCNN' in printed(cells)
    scores = [line.split() for line in printed(cells).splitlines() if line.startswith('val/coco/')]
    assert [name for name, _ in scores] == [
        'val/coco/bbox_mAP',
        'val/coco/bbox_mAP_50',
        'val/coco/segm_mAP',
    ]
    assert all(0 <= float(score) <= 100 for _, score in scores)
    assert pictures(cells) == 1


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_small_and_tested(path):
    notebook = json.loads(path.read_text())
    assert path.stem in SMALL
    assert path.stat().st_size < 100_000
    assert all(cell.get('execution_count') is None for cell in notebook['cells'])
