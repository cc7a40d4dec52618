"""Training starts without the packages that only other tasks need, and those get what they need."""

import json
import subprocess
import sys

import pytest

from mmmask.lab.benchmark.startup import start
from mmmask.upstream import absent

OTHERS = [
    'mmdet',
    'mmseg',
    'transformers',
    'sklearn',
    'pandas',
    'matplotlib',
    'albumentations',
    'timm',
    'skimage',
    'kornia',
]


def run_python(code: str) -> list[str]:
    """What a new process prints in its last line, as JSON."""
    process = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def test_pre_training_imports_no_package_of_other_tasks():
    """Until its first iteration is over, rehearsal included."""
    modules, _, _ = start('first iteration of a pre-training')
    assert {*OTHERS} & {*modules} == set()
    assert {'mmpretrain.models', 'mmmask.masking'} <= {*modules}


def test_a_figure_is_made_when_something_is_drawn():
    found = run_python(
        'import json, sys\n'
        'import numpy as np\n'
        'from mmmask.engine.visualizer import Visualizer\n'
        'visualizer = Visualizer()\n'
        "before = 'matplotlib' in sys.modules\n"
        'visualizer.set_image(np.zeros((40, 50, 3), np.uint8))\n'
        'visualizer.draw_bboxes(np.array([[10, 10, 30, 30]]))\n'
        'drawn = visualizer.get_image()\n'
        'print(json.dumps([before, drawn.shape, bool(drawn.any())]))'
    )
    assert found == [False, [40, 50, 3], True]


def test_help_and_the_package_need_no_library():
    for candidate in ('tools/train.py --help', 'import mmmask'):
        modules, _, _ = start(candidate)
        assert {'torch', 'numpy', 'mmengine', *OTHERS} & {*modules} == set()
        assert len(modules) < 400


PROVIDE = 'from mmmask.operators import provide_operators; provide_operators()'


@pytest.mark.parametrize('first', ['import mmmask.models', f'{PROVIDE}; import mmdet.models'])
def test_a_layer_for_detectors_is_there_when_a_config_names_its_module(first):
    found = run_python(
        f'{first}\nimport json, mmmask.models\n'
        'from mmengine.utils import import_modules_from_strings\n'
        "import_modules_from_strings(['mmpretrain.models.utils.res_layer_extra_norm'])\n"
        'from mmdet.registry import MODELS\n'
        "layer = MODELS.build(dict(type='mmdet.ResLayerExtraNorm', depth=50, stage=3))\n"
        'print(json.dumps([type(layer).__name__, layer.norm.num_features]))'
    )
    assert found == ['ResLayerExtraNorm', 2048]


def test_the_import_prints_nothing():
    code = 'import mmmask.models, sys; assert "mmpretrain.datasets" in sys.modules'
    process = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (process.returncode, process.stdout) == (0, '')


def test_hidden_packages_cannot_be_imported_and_come_back():
    sys.modules.pop('this', None)
    with absent('this', 'json'):
        with pytest.raises(ModuleNotFoundError, match='this'):
            import this  # noqa: F401
        import json as visible  # was imported before

        assert visible is json
    assert 'this' not in sys.modules


def test_hidden_packages_come_back_after_an_error():
    with pytest.raises(ZeroDivisionError), absent('this'):
        raise ZeroDivisionError
    assert 'this' not in sys.modules
