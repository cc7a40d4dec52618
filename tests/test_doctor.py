"""The doctor on faked installations: what it finds, and the exact command that fixes it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmmask import doctor
from mmmask.doctor import ERROR, WARNING, Finding, Installer, Machine

ROOT = Path(__file__).resolve().parent.parent
PIP = Installer('pip {}')
HEALTHY = {
    'torch': '2.11.0',
    'torchvision': '0.26.0',
    'numpy': '2.4.6',
    'opencv-python': '4.11.0.86',
    'pillow': '13.0.0',
    'rich': '15.0.0',
    'safetensors': '0.8.0',
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmpretrain': '1.3.6',
}
WORKING = Machine(errors={})


def problems(changes=None, python=(3, 11, 7), machine=WORKING, without=()):
    versions = {name: version for name, version in HEALTHY.items() if name not in without}
    return doctor.find_problems({**versions, **(changes or {})}, python, machine, PIP)


def test_nothing_is_wrong():
    assert problems() == []


def test_both_families_fill_one_folder():
    assert problems({'mmengine': '0.10.7'}) == [
        Finding(
            ERROR,
            'onedl-mmengine and mmengine both fill the folder mmengine/',
            'pip uninstall --yes onedl-mmengine mmengine && pip install onedl-mmengine==0.10.12',
        )
    ]


def test_missing_packages_come_in_one_command():
    assert problems(without=('torch', 'torchvision', 'onedl-mmcv')) == [
        Finding(
            ERROR,
            'not installed: torch, torchvision, mmcv',
            'pip install torch==2.11.0 torchvision==0.26.0 onedl-mmcv==2.3.6',
        )
    ]


def test_cpu_torch_beside_cuda_torchvision():
    assert problems({'torch': '2.11.0+cpu'}) == [
        Finding(
            ERROR,
            'torch 2.11.0+cpu and torchvision 0.26.0: one is a CPU build, the other not',
            'pip install torch==2.11.0 torchvision==0.26.0',
        )
    ]
    assert problems({'torch': '2.11.0+cpu', 'torchvision': '0.26.0+cpu'}) == []


def test_torchvision_of_another_torch():
    assert problems({'torchvision': '0.25.0'}) == [
        Finding(
            ERROR,
            'torchvision 0.25.0 was not built for torch 2.11.0, which needs torchvision 0.26',
            'pip install torch==2.11.0 torchvision==0.26.0',
        )
    ]


@pytest.mark.parametrize(
    ('opencv', 'numpy', 'wrong'),
    [
        ('4.12.0.88', '2.4.6', True),
        ('4.12.0.88', '2.3.0', True),
        ('4.12.0.88', '2.2.6', False),
        ('4.11.0.86', '2.4.6', False),
    ],
)
def test_opencv_and_numpy(opencv, numpy, wrong):
    expected = Finding(
        WARNING,
        f'opencv-python {opencv} requires numpy < 2.3, found {numpy}',
        'pip install opencv-python==4.11.0.86',
    )
    found = problems({'opencv-python': opencv, 'numpy': numpy})
    assert found == ([expected] if wrong else [])


def test_mlxtend_and_numpy():
    assert problems({'mlxtend': '0.25.0', 'numpy': '2.2.6'}) == [
        Finding(
            WARNING,
            'mlxtend 0.25.0 requires numpy >= 2.3.5, found 2.2.6',
            'pip install mlxtend==0.23.4',
        )
    ]


def test_wishes_for_numpy_without_numpy():
    findings = problems({'mlxtend': '0.25.0', 'opencv-python': '4.12.0.88'}, without=('numpy',))
    assert [finding.problem for finding in findings] == ['not installed: numpy']


def test_python_versions():
    assert problems(python=(3, 9, 18)) == [
        Finding(
            ERROR,
            'Python 3.9 is too old: the OpenMMLab packages need 3.10 or newer',
            'rm -rf .venv && make demo PYTHON=python3.11',
        )
    ]
    assert [finding.severity for finding in problems(python=(3, 14, 0))] == [WARNING]
    assert problems(python=(3, 10, 13)) == problems(python=(3, 13, 0)) == []


def test_versions_outside_the_known_range():
    assert problems({'onedl-mmcv': '2.3.4'}) == [
        Finding(
            ERROR,
            'onedl-mmcv 2.3.4 is older than the known versions, >=2.3.6,<2.4',
            'pip install "onedl-mmcv>=2.3.6,<2.4"',
        )
    ]
    assert problems({'onedl-mmpretrain': '1.5.0rc1'}) == [
        Finding(
            WARNING,
            'onedl-mmpretrain 1.5.0rc1 is newer than the known versions, >=1.3.6,<1.4',
            'pip install "onedl-mmpretrain>=1.3.6,<1.4"',
        )
    ]
    assert [finding.severity for finding in problems({'timm': '0.9.16'})] == [WARNING]


def test_the_original_family():
    families = {'mmengine': '0.10.7', 'mmcv': '2.2.0', 'mmpretrain': '1.2.0'}
    forks = ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmpretrain')
    old_torch = {'torch': '2.5.1', 'torchvision': '0.20.1'}
    assert problems({**families, **old_torch}, without=forks) == []
    without_ops = {'mmengine-lite': '0.10.7', 'mmcv-lite': '2.2.0', 'mmpretrain': '1.2.0'}
    assert problems({**without_ops, **old_torch}, without=forks) == []
    assert problems(families, without=forks) == [
        Finding(
            ERROR,
            'mmengine 0.10.7 cannot load its own checkpoints on torch 2.11.0',
            'pip uninstall --yes mmcv mmengine mmpretrain && pip install '
            'onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmpretrain==1.3.6',
        )
    ]


def test_mixed_families():
    assert problems({'mmpretrain': '1.2.0'}, without=('onedl-mmpretrain',)) == [
        Finding(
            WARNING,
            'mmpretrain beside packages of the onedl family',
            'pip uninstall --yes mmpretrain && pip install onedl-mmpretrain==1.3.6',
        )
    ]


def test_two_builds_of_opencv():
    assert problems({'opencv-python-headless': '4.11.0.86'}) == []
    assert problems({'opencv-python-headless': '4.10.0.84'}) == [
        Finding(
            WARNING,
            'opencv-python and opencv-python-headless both fill the folder cv2/',
            'pip uninstall --yes opencv-python opencv-python-headless && '
            'pip install opencv-python==4.11.0.86',
        )
    ]


def test_an_mmcv_without_operators_is_no_problem():
    machine = Machine(
        {'mmcv': None, 'mmcv.ops': "ModuleNotFoundError: No module named 'mmcv._ext'"}
    )
    assert problems(machine=machine) == []
    assert "operators of detectors: torchvision's" in doctor.report(HEALTHY, machine, [])


def test_operators_that_were_compiled_for_another_torch():
    machine = Machine({'mmcv': None, 'mmcv.ops': 'ImportError: undefined symbol: _ZN3c106detail'})
    (finding,) = problems(machine=machine)
    assert finding == Finding(
        WARNING,
        'the compiled operators of mmcv do not load: ImportError: undefined symbol: '
        '_ZN3c106detail. Without them, torchvision computes them',
        'MMCV_WITH_OPS=0 pip install --force-reinstall --no-deps --no-cache-dir '
        '--no-binary :all: onedl-mmcv==2.3.6',
    )
    text = doctor.report(HEALTHY, machine, [])
    assert "operators of detectors: mmcv's, which do not load" in text
    assert 'operators of detectors: none' in doctor.report(HEALTHY, Machine({}), [])


@pytest.mark.parametrize('transformers', ['4.57.6', '5.23.0'])
def test_mmpretrain_and_transformers(transformers):
    versions = {'transformers': transformers, 'pycocotools': '2.0.11'}
    machine = Machine({'mmpretrain': None, 'mmpretrain.models': 'TypeError: NoneType'})
    found = problems(versions, machine=machine)[0]
    remedies = {
        '4.57.6': 'pip install onedl-mmpretrain==1.3.6 onedl-mmcv==2.3.6',
        '5.23.0': 'pip install "transformers<5"',
    }
    assert found == Finding(
        ERROR, 'mmpretrain.models does not import: TypeError: NoneType', remedies[transformers]
    )


def test_packages_that_do_not_import():
    machine = Machine(
        {
            'cv2': 'ImportError: libGL.so.1: cannot open shared object file',
            'mmpretrain': 'AttributeError: no such thing',
        }
    )
    assert problems(machine=machine) == [
        Finding(
            ERROR,
            'cv2 does not import: ImportError: libGL.so.1: cannot open shared object file',
            'pip install --force-reinstall --no-deps opencv-python-headless==4.11.0.86',
        ),
        Finding(
            ERROR,
            'mmpretrain does not import: AttributeError: no such thing',
            'pip install --force-reinstall --no-deps onedl-mmpretrain==1.3.6',
        ),
    ]


def test_errors_come_before_warnings():
    found = problems({'timm': '0.9.16', 'torchvision': '0.25.0'}, python=(3, 14, 0))
    assert [finding.severity for finding in found] == [ERROR, WARNING, WARNING]


def test_uv_gets_the_python_to_install_into(monkeypatch):
    monkeypatch.setattr(doctor.shutil, 'which', lambda name: '/bin/uv')
    uv = Installer.find()
    assert uv.install('a==1') == f'uv pip install --python {sys.executable} a==1'
    assert uv.uninstall('a') == f'uv pip uninstall --python {sys.executable} a'
    monkeypatch.setattr(doctor.shutil, 'which', lambda name: None)
    assert Installer.find().uninstall('a') == f'{sys.executable} -m pip uninstall --yes a'


def test_the_report():
    versions = {**HEALTHY, 'timm': '0.9.16'}
    del versions['torch']
    machine = Machine({'mmcv': None, 'mmcv.ops': None, 'mmengine': 'ImportError: x'}, 'H100', True)
    findings = doctor.find_problems(versions, (3, 11, 0), machine, PIP)
    text = doctor.report(versions, machine, findings)
    status = {line.split()[0]: re.split(r'  +', line)[-1] for line in text.splitlines()[2:20]}
    assert status['torch'] == 'MISSING'
    assert status['numpy'] == 'ok'
    assert status['mmengine'] == 'DOES NOT IMPORT'
    assert status['mmdet'] == 'not installed'
    assert status['timm'] == 'not tested'
    assert 'device: H100; default precision bf16' in text
    assert "operators of detectors: mmcv's" in text
    assert 'error: not installed: torch\n    fix: pip install torch==2.11.0\n' in text
    assert text.endswith('Pre-training cannot start.')


@pytest.mark.parametrize(('timm', 'code'), [('1.0.31', 0), ('0.9.16', 0)])
def test_exit_code_of_a_healthy_machine(monkeypatch, capsys, timm, code):
    monkeypatch.setattr(doctor, 'installed_versions', lambda: {**HEALTHY, 'timm': timm})
    monkeypatch.setattr(doctor, 'examine_machine', lambda versions: WORKING)
    assert doctor.main() == code
    assert capsys.readouterr().out.endswith('Ready for pre-training.\n')


def test_exit_code_of_a_broken_machine(monkeypatch, capsys):
    monkeypatch.setattr(doctor, 'installed_versions', dict)
    monkeypatch.setattr(doctor, 'examine_machine', lambda versions: WORKING)
    assert doctor.main() == 1
    printed = capsys.readouterr().out
    assert 'error: not installed: torch, torchvision, numpy, cv2, PIL, rich, safetensors' in printed


def test_it_runs_where_nothing_is_installed():
    """An isolated interpreter without site-packages: only the standard library is there."""
    command = [sys.executable, '-I', '-S', '-c']
    code = f'import sys; sys.path.insert(0, {str(ROOT)!r}); from mmmask.doctor import main; '
    process = subprocess.run(
        [*command, code + 'sys.exit(main())'], capture_output=True, text=True, check=False
    )
    assert process.returncode == 1, process.stderr
    assert 'error: not installed: torch, torchvision, numpy' in process.stdout
    assert 'no CUDA device' in process.stdout


def test_a_crash_while_importing_is_reported(monkeypatch, tmp_path):
    """A package that ends the interpreter does not take the doctor with it."""
    (tmp_path / 'timm.py').write_text("print('noise', end='')\nimport os\nos._exit(3)\n")
    (tmp_path / 'sklearn.py').write_text('raise ImportError("first\\nsecond")\n')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    machine = doctor.examine_machine({'timm': '1.0.31'})
    assert machine.errors == {'timm': 'the interpreter stopped with exit code 3'}
    machine = doctor.examine_machine({'scikit-learn': '1.9.1'})
    assert machine.errors == {'sklearn': 'ImportError: first'}


CONSTRAINTS = """
# numpy==1.0 is not a line of its own
numpy==2.4.6; python_version >= "3.11"
numpy==2.2.6; python_version < "3.11"
kornia==0.9.0; python_version >= "3.11"
torch==2.11.0
"""


def test_tested_versions_depend_on_python():
    new = {'numpy': '2.4.6', 'kornia': '0.9.0', 'torch': '2.11.0'}
    assert doctor.read_tested(CONSTRAINTS, (3, 12)) == new
    assert doctor.read_tested(CONSTRAINTS, (3, 11)) == new
    assert doctor.read_tested(CONSTRAINTS, (3, 10)) == {'numpy': '2.2.6', 'torch': '2.11.0'}


def test_requirements_without_an_upper_bound_allow_what_was_tested():
    requirements = [
        'torch>=2.5',
        'onedl-mmcv<2.4,>=2.3.6; extra == "onedl"',
        'kornia>=0.9; python_version >= "3.11" and extra == "augment"',
        'pytest>=8; extra == "test"',
        'numpy==2.4.6',
        '# a comment',
    ]
    assert doctor.read_allowed(requirements, {'torch': '2.11.0', 'kornia': '0.9.0'}) == {
        'torch': ('2.5', '2.12'),
        'onedl-mmcv': ('2.3.6', '2.4'),
        'kornia': ('0.9', '0.10'),
    }


def test_versions_are_those_of_the_requirement_files(monkeypatch):
    """The same from the metadata of an installed mmmask and from a checkout."""
    files = (ROOT / 'requirements').glob('*.txt')
    lines = [line for file in sorted(files) for line in file.read_text().splitlines()]
    declared = doctor.read_allowed(lines, doctor.TESTED)
    assert declared['torch'][0] == '2.5' and declared['mmcv'] == ('2.0.1', '2.3')
    names = {name for package in doctor.PACKAGES for name in package.distributions}
    installed = {name: doctor.ALLOWED.get(name) for name in names}
    assert installed == {name: declared.get(name) for name in names}

    def not_installed(name):
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, 'requires', not_installed)
    assert doctor.own_requirements() == lines


@pytest.mark.parametrize('package', doctor.PACKAGES, ids=lambda package: package.module)
def test_the_recommended_distribution_has_a_tested_version_that_is_allowed(package):
    name = package.distributions[0]
    if name == 'kornia' and sys.version_info < (3, 11):
        pytest.skip('kornia needs Python 3.11')
    allowed = doctor.allowed_versions(name)
    assert (allowed is None) == (package.module in ('cv2', 'pycocotools'))  # needs of others
    assert doctor.pin(name) == f'{name}=={doctor.TESTED[name]}'
    if allowed:
        assert doctor.within(doctor.TESTED[name], *allowed)


def test_distributions_without_ops_have_the_versions_of_those_with():
    assert doctor.allowed_versions('mmcv-lite') == doctor.allowed_versions('mmcv')
    assert doctor.allowed_versions('mmengine-lite') == doctor.allowed_versions('mmengine')
