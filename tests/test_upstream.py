"""Training starts without the packages that only other tasks need, and those get what they need."""

import json
import subprocess
import sys

import pytest

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
    found = run_python(
        'import json, sys\n'
        'import mmmask.models, mmmask.datasets, mmmask.engine, mmmask.apis.train\n'
        f'print(json.dumps([name for name in {OTHERS} if name in sys.modules]))'
    )
    assert found == []


@pytest.mark.parametrize('first', ['mmmask.models', 'mmdet.models'])
def test_a_layer_for_detectors_is_there_when_a_config_names_its_module(first):
    found = run_python(
        f'import json, {first}, mmmask.models\n'
        'from mmengine.utils import import_modules_from_strings\n'
        "import_modules_from_strings(['mmpretrain.models.utils.res_layer_extra_norm'])\n"
        'from mmdet.registry import MODELS\n'
        "layer = MODELS.build(dict(type='mmdet.ResLayerExtraNorm', depth=50, stage=3))\n"
        'print(json.dumps([type(layer).__name__, layer.norm.num_features]))'
    )
    assert found == ['ResLayerExtraNorm', 2048]


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
