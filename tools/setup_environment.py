#!/usr/bin/env python3
"""Set up ``.venv`` for one purpose: ``demo`` (no compiler needed) or ``test`` (everything).

``operators`` compiles mmcv's operators for the Python that runs this, and installs them there.

The Makefile calls this again when the requirement files change. It uses the standard library only,
and installs with ``uv`` if possible, otherwise with ``pip``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin' / 'python'
CONSTRAINTS = ROOT / 'requirements' / 'constraints.txt'
OLDEST_PYTHON = (3, 10)

# torch comes first: the cached wheel of mmcv's ops is named after the installed torch.
FIRST = ('build', 'runtime')
THEN = {
    'demo': ('onedl', 'demo'),
    'test': (
        'onedl',
        'demo',
        'export',
        'onnx',
        'trackers',
        'retrieval',
        'augment',
        'parquet',
        'tiff',
        'detection',
        'segmentation',
        'docs',
        'test',
    ),
}
CPU_MINUTES_OF_COMPILE = dict(merged=5, separate=20)

# mmcv's C++ sources for processors. Almost all of the time goes to PyTorch's headers, so the files
# of a folder are compiled as one, except those whose helpers or macros are named like another's.
SOURCES = 'mmcv/ops/csrc/pytorch'
NOT_MERGED = {
    '.': ('pybind.cpp',),
    'cpu': ('psamask.cpp', 'roi_align.cpp', 'roi_align_rotated.cpp', 'rotated_feature_align.cpp'),
}

PROBE = """
import sys, sysconfig, torch
from torch.utils.cpp_extension import CUDA_HOME
device = 'cpu'
if torch.cuda.is_available() and CUDA_HOME:
    device = 'cuda{}.{}'.format(*torch.cuda.get_device_capability())
print(f'torch-{torch.__version__}_{sys.implementation.cache_tag}_{sysconfig.get_platform()}_{device}')
"""


class SetupError(RuntimeError):
    """What went wrong and how to fix it."""


def say(text: str) -> None:
    print(f'[set-up] {text}', flush=True)


def run(*command: str | os.PathLike, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], **kwargs)


def works(code: str) -> bool:
    """Whether a line of Python runs without error in the environment."""
    return run(PYTHON, '-c', code, capture_output=True).returncode == 0


def create_environment() -> None:
    """Create ``.venv`` with pip, unless there is a working one.

    Raises:
        SetupError: if Python is too old or has no ``venv``.
    """
    if PYTHON.exists() and works('import pip'):
        current = f'import sys; sys.exit(sys.version_info < {OLDEST_PYTHON})'
        if works(current):
            return
        raise SetupError(f'{VENV} holds a Python older than 3.10. Remedy: rm -rf {VENV}')
    say(f'creating {VENV} with Python {sys.version.split()[0]}')
    made = run(sys.executable, '-m', 'venv', '--clear', VENV, capture_output=True, text=True)
    if made.returncode and shutil.which('uv'):
        made = run('uv', 'venv', '--seed', '--clear', '--python', sys.executable, VENV)
    if made.returncode:
        raise SetupError(
            f'{sys.executable} cannot create an environment:\n{made.stdout}{made.stderr}\n'
            'Remedy on Debian or Ubuntu: apt-get install python3-venv python3-dev'
        )


def find_uv() -> Path | None:
    """The ``uv`` on PATH, or one that pip puts into the environment, or None."""
    found = shutil.which('uv')
    if found:
        return Path(found)
    if not (VENV / 'bin' / 'uv').exists():
        say('uv is not on PATH: installing it into .venv')
        run(PYTHON, '-m', 'pip', 'install', '--quiet', 'uv')
    return VENV / 'bin' / 'uv' if (VENV / 'bin' / 'uv').exists() else None


def install(uv: Path | None, *arguments: str | os.PathLike) -> None:
    """Install packages into the environment.

    Raises:
        SetupError: if that fails.
    """
    # Without this variable an installer that finds torch starts to compile mmcv's ops.
    environment = {**os.environ, 'MMCV_WITH_OPS': '0'}
    if uv:
        command = [uv, 'pip', 'install', '--quiet', '--python', PYTHON]
    else:
        command = [PYTHON, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check']
    if run(*command, '--constraint', CONSTRAINTS, *arguments, env=environment).returncode:
        raise SetupError(
            'the packages could not be installed; see the lines above. Remedy: check that the '
            f'package registry answers, or remove a broken environment with: rm -rf {VENV}'
        )


def requirement_files(names: tuple[str, ...]) -> list[str]:
    return [part for name in names for part in ('-r', f'{ROOT}/requirements/{name}.txt')]


def pinned(package: str) -> str:
    """The line of the constraints that pins a package, such as ``onedl-mmcv==2.3.6``."""
    return re.search(rf'^{package}==\S+', CONSTRAINTS.read_text(), re.MULTILINE).group()


def cache_folder(requirement: str) -> Path:
    """Where the compiled wheel of a requirement is kept, outside the checkout."""
    key = run(PYTHON, '-c', PROBE, capture_output=True, text=True, check=True).stdout.strip()
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    return cache / 'mmmask' / 'wheels' / f'{requirement.replace("==", "-")}_{key}'


def compile_jobs() -> int:
    """One compiler per core, if there are 2 GB of memory for each."""
    gigabytes = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9
    return max(1, min(len(os.sched_getaffinity(0)), int(gigabytes / 2)))


def check_compiler() -> None:
    """Check for a C++ compiler and the Python header.

    Raises:
        SetupError: if one of them is missing.
    """
    header = (
        'import os, sysconfig; open(os.path.join(sysconfig.get_paths()["include"], "Python.h"))'
    )
    compiler = os.environ.get('CXX', '').split()[:1] or ['c++']
    if not (shutil.which(compiler[0]) or shutil.which('g++')):
        raise SetupError(
            "no C++ compiler found, which mmcv's ops need. Remedy: apt-get install g++"
        )
    if not works(header):
        raise SetupError(
            "Python.h is missing, which mmcv's ops need. Remedy: apt-get install python3-dev"
        )


def compiled_wheel(requirement: str) -> Path:
    """The wheel with compiled ops of a requirement, from the cache or compiled into it.

    It is compiled in a temporary folder and moved when complete, so that an interruption leaves no
    broken cache.

    Raises:
        SetupError: if it does not compile.
    """
    folder = cache_folder(requirement)
    found = sorted(folder.glob('*.whl'))
    if found:
        say(f'using the compiled {found[0].name} of {folder}')
        return found[0]
    check_compiler()
    jobs = compile_jobs()
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f'{folder.name}.log')
    say(f'compiling {requirement} once, into {folder}')
    cuda = '_cuda' in folder.name
    minutes = CPU_MINUTES_OF_COMPILE['separate' if cuda else 'merged'] / jobs
    say(f'this takes about {minutes:.0f} minutes with {jobs} cores; log: {log}')
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix='compiling-') as temporary:
        compile_wheel(requirement, Path(temporary), log, jobs, cuda)
        wheels = [path for path in Path(temporary).glob('*.whl') if has_extension(path)]
        if not wheels:
            raise SetupError(
                f'{requirement} was built without compiled ops; see {log}. '
                'Remedy: check that the environment has torch, and start again.'
            )
        if not folder.exists():  # another checkout may have been faster
            Path(temporary, 'wheel').mkdir()
            wheels[0].rename(Path(temporary, 'wheel', wheels[0].name))
            Path(temporary, 'wheel').rename(folder)
    return next(folder.glob('*.whl'))


def has_extension(wheel: Path) -> bool:
    """Whether a wheel contains a compiled extension module."""
    with zipfile.ZipFile(wheel) as archive:
        return any(name.endswith(('.so', '.pyd')) for name in archive.namelist())


def compile_wheel(requirement: str, folder: Path, log: Path, jobs: int, cuda: bool) -> None:
    """Run pip's wheel build, and report progress every half minute."""
    environment = {**os.environ, 'MMCV_WITH_OPS': '1', 'MAX_JOBS': str(jobs)}
    environment['PATH'] = f'{PYTHON.parent}{os.pathsep}{os.environ["PATH"]}'  # for ninja
    if not cuda:
        environment['CUDA_VISIBLE_DEVICES'] = ''
    # pip's own cache may contain a wheel of this version without ops.
    options = ['--no-cache-dir', '--no-deps', '--no-build-isolation']
    source = requirement if cuda else merged_source(requirement, folder, options)
    command = [PYTHON, '-m', 'pip', 'wheel', '--verbose', *options, '--wheel-dir', folder, source]
    start = time.monotonic()
    with log.open('w') as output:
        process = subprocess.Popen(
            [str(part) for part in command], env=environment, stdout=output, stderr=output
        )
        try:
            while process.poll() is None:
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    minutes = (time.monotonic() - start) / 60
                    say(f'  {minutes:4.1f} minutes, {files_compiled(log)}')
        finally:
            process.terminate()
            process.wait()
    if process.returncode:
        lines = log.read_text(errors='replace').splitlines()
        # The number of lines that pip prints after the compiler's errors depends on its version.
        errors = [line for line in lines[:-20] if re.search(r'\berror:', line)]
        shown = '\n'.join(errors[:10] + lines[-20:])
        raise SetupError(f'{requirement} did not compile:\n{shown}\nThe whole log: {log}')


def merged_source(requirement: str, folder: Path, options: list[str]) -> str | Path:
    """The unpacked source of a requirement with few files to compile, or the requirement itself.

    The operators are the same. If the source archive has another layout, nothing is changed.
    """
    command = [PYTHON, '-m', 'pip', 'download', '--quiet', *options, '--no-binary', ':all:']
    run(*command, '--dest', folder, requirement, capture_output=True)
    for archive in folder.glob('*.tar.gz'):
        shutil.unpack_archive(archive, folder / 'source')
    for sources in folder.glob(f'source/*/{SOURCES}'):
        leave_standard_to_torch(sources.parents[3] / 'setup.py')
        for part, names in NOT_MERGED.items():
            merge_sources(sources / part, names)
        return sources.parents[3]
    return requirement


def leave_standard_to_torch(setup: Path) -> None:
    """Remove the C++ standard from compiler options: newer headers of PyTorch need a newer one."""
    setup.write_text(re.sub(r"(, )?'-std=c\+\+\d+'", '', setup.read_text()))


def merge_sources(folder: Path, others: tuple[str, ...]) -> None:
    """Replace the C++ files of a folder, but for some, by one that includes them."""
    merged = [path for path in sorted(folder.glob('*.cpp')) if path.name not in others]
    for path in merged:
        path.rename(f'{path}.merged')
    lines = [f'#include "{path.name}.merged"\n' for path in merged]
    (folder / 'merged.cpp').write_text(''.join(lines))


def files_compiled(log: Path) -> str:
    """The progress of ninja, from lines such as ``[12/78] c++ …``."""
    steps = re.findall(r'^\s*\[(\d+)/(\d+)\]', log.read_text(errors='replace'), re.MULTILINE)
    return '{} of {} files compiled'.format(*steps[-1]) if steps else 'preparing'


def install_ops(uv: Path | None) -> None:
    """Replace an mmcv without compiled ops by one with them.

    Raises:
        SetupError: if ``mmcv.ops`` does not import afterwards.
    """
    if works('import mmcv.ops'):
        return
    wheel = compiled_wheel(pinned('onedl-mmcv'))
    install(uv, '--force-reinstall', '--no-deps', wheel)
    if not works('import mmcv.ops'):
        raise SetupError(
            f'mmcv.ops does not import from {wheel}.\n'
            f'Remedy: rm -r "{wheel.parent}", and start again.'
        )


def fix_opencv(uv: Path | None) -> None:
    """Install the headless build if opencv-python lacks a graphics library of the machine."""
    if not works('import cv2'):
        say('opencv-python does not import on this machine: installing its headless build over it')
        install(uv, '--force-reinstall', '--no-deps', pinned('opencv-python-headless'))


def set_up(purpose: str) -> None:
    """Install everything that a purpose needs, and check that it imports.

    Raises:
        SetupError: with the remedy, if something does not.
    """
    create_environment()
    uv = find_uv()
    say(f'installing torch with {"uv" if uv else "pip"}: 1 to 3 minutes if it is downloaded')
    install(uv, *requirement_files(FIRST))
    say('installing OpenMMLab and the other packages: about 1 minute')
    install(uv, *requirement_files(THEN[purpose]))
    install(uv, '--no-deps', '--no-build-isolation', '--editable', ROOT)
    fix_opencv(uv)
    if purpose == 'test':
        install_ops(uv)
    if not works('import mmpretrain.models, mmmask.registry'):
        run(PYTHON, '-m', 'mmmask.doctor')
        raise SetupError('the packages are installed but do not import; see the lines above.')


def add_operators() -> None:
    """Give the operators of mmcv to the environment of the Python that runs this.

    Raises:
        SetupError: if mmcv is missing, or its operators do not compile.
    """
    global PYTHON
    PYTHON = Path(sys.executable)
    if not works('from importlib.metadata import version; version("onedl-mmcv")'):
        raise SetupError(
            f'{PYTHON} has no onedl-mmcv. Remedy: install mmmask[onedl] first; python -m '
            'mmmask.doctor prints the command for the original mmcv.'
        )
    found = shutil.which('uv')
    uv = Path(found) if found else None
    install(uv, 'pip', *requirement_files(FIRST[:1]))
    install_ops(uv)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('purpose', choices=[*sorted(THEN), 'operators'])
    purpose = parser.parse_args().purpose
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(
            f'mmmask needs Python 3.10 or newer, and {sys.executable} is {sys.version.split()[0]}. '
            'Remedy: make PYTHON=/path/to/python3.11'
        )
    start = time.monotonic()
    try:
        add_operators() if purpose == 'operators' else set_up(purpose)
    except SetupError as error:
        sys.exit(f'[set-up] failed: {error}')
    operators = purpose == 'operators'
    ready = "mmcv's operators are installed" if operators else f'ready for `make {purpose}`'
    say(f'{ready} after {time.monotonic() - start:.0f} s')


if __name__ == '__main__':
    main()
