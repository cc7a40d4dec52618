"""Tools answer ``--help`` at once, and end errors of the user in one message."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT

from mmmask import command_line
from mmmask.command_line import ConfigOptions, Parser, user_errors, user_path

TOOLS = sorted(
    path.stem
    for path in (ROOT / 'tools').glob('*.py')
    if path.stem not in ('setup_environment', 'install_matrix')  # run before all is installed
)
HEAVY = ('torch', 'numpy', 'mmengine', 'mmcv', 'mmpretrain', 'PIL', 'rich', 'matplotlib')
HELP = f"""
import json, resource, runpy, sys
sys.argv[:] = sys.argv[1:] + ['--help']
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
except SystemExit as leave:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps(dict(
        code=leave.code,
        seconds=usage.ru_utime + usage.ru_stime,
        heavy=[name for name in {HEAVY} if name in sys.modules],
    )))
"""


def run(*command):
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize('tool', TOOLS)
def test_help_imports_the_standard_library_only(tool):
    process = run('-c', HELP, f'tools/{tool}.py')
    assert process.returncode == 0, process.stderr
    *text, last = process.stdout.strip().split('\n')
    report = json.loads(last)
    assert (report['code'], report['heavy']) == (0, [])
    assert report['seconds'] <= 0.5
    assert '--debug' in '\n'.join(text)


def test_a_config_with_an_error_of_syntax(tmp_path):
    (tmp_path / 'broken.py').write_text('model = dict(\n')
    command = ('tools/visualize.py', tmp_path / 'broken.py', 'none.pth')
    process = run(*command)
    assert process.returncode == 2
    lines = [line for line in process.stderr.splitlines() if 'the config cannot be read' in line]
    assert len(lines) == 1 and 'SyntaxError' in lines[0] and 'broken.py' in lines[0]
    assert 'Traceback' not in process.stderr
    process = run(*command, '--debug')
    assert process.returncode == 1
    assert 'Traceback' in process.stderr and 'ConfigError: the config cannot' in process.stderr


ERRORS = [
    (ValueError('a=3 must be 4.'), 'c.py: a=3 must be 4.'),
    (FileNotFoundError(2, 'No such file or directory', 'x'), 'c.py: x: No such file or directory.'),
    (PermissionError('x.pth exists: remove it.'), 'c.py: x.pth exists: remove it.'),
    (
        ModuleNotFoundError("No module named 'timm'", name='timm'),
        "c.py: No module named 'timm'. Install the package that provides it.",
    ),
]


@pytest.mark.parametrize(('error', 'message'), ERRORS)
def test_errors_of_the_user_are_one_line(error, message, monkeypatch, capsys):
    monkeypatch.setitem(globals(), '__name__', 'mmmask.planted')
    with pytest.raises(SystemExit) as leave, user_errors(False, 'c.py'):
        raise error
    assert (leave.value.code, str(leave.value)) == (2, message)
    assert capsys.readouterr().err == message + '\n'
    with pytest.raises(type(error)), user_errors(True, 'c.py'):
        raise error


def test_an_error_of_another_package_says_where_it_was_raised(capsys):
    with pytest.raises(SystemExit), user_errors(False):
        json.loads('{')
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: Expecting property name')
    assert 'json/decoder.py:' in line and line.endswith('; --debug shows the traceback)')


def test_other_errors_and_exit_codes_pass():
    for error in (KeyError('bug'), RuntimeError('bug'), SystemExit(75), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised, user_errors(False):
            raise error
        assert raised.value is error
    with pytest.raises(SystemExit) as leave, user_errors(False, code=1, kinds=(KeyError,)):
        raise KeyError('key')
    assert leave.value.code == 1


@pytest.mark.parametrize('buffering', ['', '-u'])
def test_a_reader_of_the_output_that_ends_early_is_no_error(buffering):
    command = f'set -o pipefail; {sys.executable} {buffering} -m mmmask list | true'
    result = subprocess.run(['bash', '-c', command], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (command_line.BROKEN_PIPE, '')


def test_a_broken_pipe_elsewhere_is_an_error(capsys):
    with pytest.raises(SystemExit) as leave, user_errors(False, 'doctor'):
        raise BrokenPipeError(32, 'Broken pipe')
    assert leave.value.code == 2 and 'doctor: [Errno 32] Broken pipe' in capsys.readouterr().err


def test_options_of_a_config(capsys):
    parser = Parser()
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    words = ['a.b=[1,2]', 'c=None', 'd=x=y', 'e=(1,0.5)']
    options = parser.parse_args(['--cfg-options', *words]).cfg_options
    assert options == {'a.b': [1, 2], 'c': None, 'd': 'x=y', 'e': (1, 0.5)}
    assert parser.parse_args([]).cfg_options is None
    for wrong in ('a', 'a=[1,[2]'):
        with pytest.raises(SystemExit) as leave:
            parser.parse_args(['--cfg-options', wrong])
        assert leave.value.code == 2
        assert f"'{wrong}' must be KEY=VALUE" in capsys.readouterr().err
    for wrong in ("a.b={'x': 1}", "a.b={'x':1,'y':2}", 'a.b=[{"x":1}]', 'a.b={}'):
        with pytest.raises(SystemExit):
            parser.parse_args(['--cfg-options', wrong])
        assert 'write a.b.NAME=VALUE for each name' in capsys.readouterr().err
    shards = parser.parse_args(['--cfg-options', 'a=shard-{000..009}.tar']).cfg_options
    assert shards == dict(a='shard-{000..009}.tar')


def test_home_folders_in_options(monkeypatch):
    monkeypatch.setenv('HOME', '/home/a')
    parser = Parser()
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    words = ['a.source=~/x', 'b=[~/y,2]', 'c=x~/y', 'load_from=~/z.pth']
    options = parser.parse_args(['--cfg-options', *words]).cfg_options
    assert options == {
        'a.source': '/home/a/x', 'b': ['/home/a/y', 2], 'c': 'x~/y', 'load_from': '/home/a/z.pth'
    }  # fmt: skip


def test_home_folders(monkeypatch):
    monkeypatch.setenv('HOME', '/home/a')
    assert user_path('~/x') == '/home/a/x'
    assert user_path('https://a.b/~c.pth') == 'https://a.b/~c.pth'


def test_names_for_the_help_are_those_of_the_package():
    from mmmask.lab.benchmark import COMPONENTS
    from mmmask.lab.replay import PRECISIONS

    assert tuple(COMPONENTS) == command_line.COMPONENTS
    assert tuple(PRECISIONS) == command_line.PRECISIONS
