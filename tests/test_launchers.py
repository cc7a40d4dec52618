"""The commands that the launchers run, with other programs in place of Python and srun."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONFIG = 'configs/demo/localmim_vit-tiny_digits.py'
SPY = '#!/bin/sh\nfor argument in "$@"; do echo "$argument"; done\n'


@pytest.fixture
def launch(tmp_path):
    """Return a function that runs a launcher with ``SPY`` as the interpreter and as srun."""
    for name in ('python', 'srun'):
        (tmp_path / name).write_text(SPY)
        (tmp_path / name).chmod(0o755)

    def run(script, *arguments, **variables):
        variables = {'PYTHON': str(tmp_path / 'python'), **variables}
        kept = {key: value for key, value in os.environ.items() if key in ('HOME', 'LANG')}
        path = f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
        return subprocess.run(
            [str(ROOT / 'tools' / script), *arguments],
            env={**kept, 'PATH': path, **variables},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def values(process) -> dict[str, str]:
    """Map each printed argument to the argument that follows it."""
    words = process.stdout.split('\n')
    return dict(zip(words, words[1:], strict=False))


def test_one_machine(launch):
    process = launch('dist_train.sh', CONFIG, '2', '--work-dir', 'a b', PORT='29501')
    words = process.stdout.splitlines()
    assert words == [
        '-m',
        'torch.distributed.run',
        '--nnodes',
        '1',
        '--node_rank',
        '0',
        '--master_addr',
        '127.0.0.1',
        '--master_port',
        '29501',
        '--nproc_per_node',
        '2',
        '--max-restarts',
        '0',
        '--signals-to-handle',
        'SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1',
        str(ROOT / 'tools' / 'train.py'),
        CONFIG,
        '--launcher',
        'pytorch',
        '--work-dir',
        'a b',
    ]


def test_torchrun_of_older_pytorch(launch, tmp_path):
    """Older versions do not have the option ``--signals-to-handle``."""
    write_program(tmp_path / 'python', '[ "$1" = -c ] && exit 1\n' + SPY.split('\n', 1)[1])
    words = launch('dist_train.sh', CONFIG, '2', PORT='29501').stdout.splitlines()
    assert words[words.index('--max-restarts') :][2:4] == [str(ROOT / 'tools/train.py'), CONFIG]


def test_several_machines_share_a_port(launch):
    variables = dict(NNODES='4', NODE_RANK='3', MASTER_ADDR='10.0.0.1')
    found = values(launch('dist_train.sh', CONFIG, '8', **variables))
    assert found['--nnodes'] == '4'
    assert found['--node_rank'] == '3'
    assert found['--master_addr'] == '10.0.0.1'
    assert found['--master_port'] == '29500'
    assert found['--nproc_per_node'] == '8'


def test_a_free_port_by_default(launch, tmp_path):
    """The launcher asks the interpreter for a free port; this interpreter answers 4711."""
    answer = '#!/bin/sh\n[ "$1" = -c ] && { echo 4711; exit; }\n' + SPY.split('\n', 1)[1]
    (tmp_path / 'python').write_text(answer)
    assert values(launch('dist_train.sh', CONFIG, '1'))['--master_port'] == '4711'


@pytest.mark.parametrize(
    ('arguments', 'complaint'),
    [
        ((), ''),
        ((CONFIG,), ''),
        ((CONFIG, 'two'), "GPUS 'two' is not a positive number."),
        ((CONFIG, '0'), "GPUS '0' is not a positive number."),
        (('configs/none.py', '2'), "CONFIG 'configs/none.py' is not a file."),
    ],
)
def test_wrong_use_of_dist_train(launch, arguments, complaint):
    process = launch('dist_train.sh', *arguments)
    assert process.returncode == 2
    assert process.stdout == ''
    assert process.stderr.startswith(complaint)
    assert 'usage: tools/dist_train.sh CONFIG GPUS' in process.stderr


@pytest.mark.parametrize(
    ('variables', 'complaint'),
    [
        (dict(NNODES='2'), 'NNODES=2 needs MASTER_ADDR: set it to the address of machine 0'),
        (dict(NNODES='two'), "NNODES='two' is not a positive number."),
        (dict(NNODES='2', NODE_RANK='2', MASTER_ADDR='a'), "NODE_RANK='2' is not a number from 0"),
        (dict(PORT='70000', PYTHON=sys.executable), 'PORT=70000 is in use or not allowed'),
        (dict(PORT='used', PYTHON=sys.executable), ''),
    ],
)
def test_wrong_variables_of_dist_train(launch, variables, complaint):
    with socket.socket() as listener:
        if variables.get('PORT') == 'used':
            listener.bind(('', 0))
            listener.listen()
            variables = variables | dict(PORT=str(listener.getsockname()[1]))
            complaint = f'PORT={variables["PORT"]} is in use'
        process = launch('dist_train.sh', CONFIG, '1', **variables)
    assert (process.returncode, process.stdout) == (2, '')
    assert process.stderr.startswith(complaint) and process.stderr.count('\n') == 1


def test_slurm(launch, tmp_path):
    variables = dict(GPUS='16', CPUS_PER_TASK='5', SRUN_ARGS='--time=1:00:00 --mem=0')
    process = launch('slurm_train.sh', 'gpu', 'pre-train', CONFIG, '--seed', '1', **variables)
    assert process.stdout.splitlines() == [
        '--partition=gpu',
        '--job-name=pre-train',
        '--gres=gpu:8',
        '--ntasks=16',
        '--ntasks-per-node=8',
        '--cpus-per-task=5',
        '--kill-on-bad-exit=1',
        '--signal=USR1@120',
        '--time=1:00:00',
        '--mem=0',
        str(tmp_path / 'python'),
        '-u',
        str(ROOT / 'tools' / 'train.py'),
        CONFIG,
        '--launcher',
        'slurm',
        '--seed',
        '1',
    ]


def test_slurm_with_less_than_a_machine(launch):
    words = launch('slurm_train.sh', 'gpu', 'name', CONFIG, GPUS='2').stdout.splitlines()
    assert {'--gres=gpu:2', '--ntasks=2', '--ntasks-per-node=2'} <= set(words)


def test_help_of_gather_wheels_gathers_nothing(launch):
    process = launch('gather_wheels.sh', '--help')
    assert (process.returncode, process.stdout) == (2, '')
    assert process.stderr.startswith('usage: tools/gather_wheels.sh')


@pytest.mark.parametrize('arguments', [(), ('gpu', 'name'), ('gpu', 'name', 'configs/none.py')])
def test_wrong_use_of_slurm_train(launch, arguments):
    process = launch('slurm_train.sh', *arguments)
    assert process.returncode == 2
    assert 'usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG' in process.stderr


def write_program(path, text):
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)


def test_restarts(launch):
    assert values(launch('dist_train.sh', CONFIG, '2', MAX_RESTARTS='3'))['--max-restarts'] == '3'


@pytest.mark.parametrize('code', [0, 1, 3])
def test_the_exit_code_is_that_of_the_run(launch, tmp_path, code):
    write_program(tmp_path / 'python', f'exit {code}')
    assert launch('dist_train.sh', CONFIG, '2', PORT='1').returncode == code


@pytest.mark.parametrize(
    ('name', 'passed_on', 'is_old'),
    [('TERM', 'TERM', 0), ('USR1', 'USR1', 0), ('TERM', 'TERM', 1), ('USR1', 'TERM', 1)],
)
def test_signals_reach_the_processes_and_end_in_75(tmp_path, name, passed_on, is_old):
    """A program in place of torchrun saves for a while and then fails, as torchrun does."""
    log = tmp_path / 'log'
    write_program(
        tmp_path / 'python',
        f'[ "$1" = -c ] && exit {is_old}\n'  # reports whether torchrun forwards SIGUSR1
        f'trap "sleep 0.3; echo saved >> {log}; exit 1" {passed_on}\n'
        f'echo ready >> {log}\nwhile :; do sleep 0.1; done',
    )
    process = subprocess.Popen(
        [str(ROOT / 'tools' / 'dist_train.sh'), CONFIG, '2'],
        env={**os.environ, 'PYTHON': str(tmp_path / 'python'), 'PORT': '1'},
        cwd=ROOT,
    )
    while not log.exists():
        time.sleep(0.02)
    process.send_signal(getattr(signal, f'SIG{name}'))
    assert process.wait(timeout=60) == 75
    assert log.read_text() == 'ready\nsaved\n'


def test_slurm_restarts_a_stopped_run(launch, tmp_path):
    """srun exits with 75 twice and then with 0; every start after the first one resumes."""
    write_program(
        tmp_path / 'srun',
        f'echo "$@" >> {tmp_path}/starts\n[ $(wc -l < {tmp_path}/starts) -gt 2 ] || exit 75',
    )
    assert launch('slurm_train.sh', 'gpu', 'name', CONFIG, '--seed', '1').returncode == 0
    ends = [line.split(CONFIG)[1] for line in (tmp_path / 'starts').read_text().splitlines()]
    assert ends == [' --launcher slurm --seed 1'] + [' --launcher slurm --seed 1 --resume'] * 2


def test_slurm_requeues_a_batch_job(launch, tmp_path):
    write_program(tmp_path / 'srun', 'exit 75')
    write_program(tmp_path / 'scontrol', 'echo scontrol "$@"')
    process = launch('slurm_train.sh', 'gpu', 'name', CONFIG, SLURM_JOB_ID='4711')
    assert process.stdout == 'scontrol requeue 4711\n'
    assert process.returncode == 0


@pytest.mark.parametrize(('code', 'requeues', 'starts'), [(1, '100', 1), (75, '2', 3)])
def test_slurm_gives_up(launch, tmp_path, code, requeues, starts):
    write_program(tmp_path / 'srun', f'echo start >> {tmp_path}/starts\nexit {code}')
    process = launch('slurm_train.sh', 'gpu', 'name', CONFIG, REQUEUES=requeues)
    assert process.returncode == code
    assert len((tmp_path / 'starts').read_text().splitlines()) == starts
