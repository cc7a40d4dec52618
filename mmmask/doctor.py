"""``python -m mmmask.doctor``: what is installed, what is wrong with it, and how to fix it.

Only the standard library is imported here, so that it runs where nothing else does. Which versions
are allowed is read from what mmmask requires, and the tested ones from the constraints.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

ERROR, WARNING = 'error', 'warning'
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
HERE = Path(__file__).resolve().parent
# An installed package carries the constraints; in a checkout they are beside it.
ROOT = HERE / '.mim' if (HERE / '.mim').is_dir() else HERE.parent
CONSTRAINTS = ROOT / 'requirements' / 'constraints.txt'


def tool(name: str) -> str:
    """The path by which a message names a tool: ``tools/NAME``, or its place in the package."""
    return f'tools/{name}' if HERE.parent == ROOT else str(ROOT / 'tools' / name)


class Package(NamedTuple):
    """An import name and the distributions that can provide it.

    Attributes:
        module: import name.
        distributions: distributions that provide it; the recommended one comes first.
        purpose: what needs it; ``'pre-training'`` is impossible without.
    """

    module: str
    distributions: tuple[str, ...]
    purpose: str = 'pre-training'

    @property
    def needed(self) -> bool:
        return self.purpose == 'pre-training'


PACKAGES = (
    Package('torch', ('torch',)),
    Package('torchvision', ('torchvision',)),
    Package('numpy', ('numpy',)),
    Package('cv2', ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python')),
    Package('PIL', ('pillow',)),
    Package('rich', ('rich',)),
    Package('safetensors', ('safetensors',)),
    Package('mmengine', ('onedl-mmengine', 'mmengine', 'mmengine-lite')),
    Package('mmcv', ('onedl-mmcv', 'mmcv', 'mmcv-lite', 'mmcv-full')),
    Package('mmpretrain', ('onedl-mmpretrain', 'mmpretrain')),
    Package('mmdet', ('onedl-mmdetection', 'mmdet'), 'detection'),
    Package('mmseg', ('onedl-mmsegmentation', 'mmsegmentation'), 'segmentation'),
    Package('pycocotools', ('pycocotools',), 'detection'),
    Package('timm', ('timm',), 'export'),
    Package('transformers', ('transformers',), 'export'),
    Package('faiss', ('faiss-cpu',), 'retrieval'),
    Package('mlxtend', ('mlxtend',), 'demo'),
    Package('skimage', ('scikit-image',), 'demo'),
    Package('sklearn', ('scikit-learn',), 'demo'),
    Package('matplotlib', ('matplotlib',), 'demo'),
    Package('kornia', ('kornia',), 'augment'),
    Package('pyarrow', ('pyarrow',), 'parquet'),
    Package('tifffile', ('tifffile',), 'tiff'),
    Package('imagecodecs', ('imagecodecs',), 'tiff'),
    Package('tensorboard', ('tensorboard',), 'demo'),
)
BY_MODULE = {package.module: package for package in PACKAGES}

# Parts that may fail to import where the package itself does not.
DEEPER = (('mmpretrain', 'models'), ('mmcv', 'ops'))

# Each import in turn, one line of JSON each, so that a crash does not hide what came before.
PROBE = """
import importlib, json, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
        error = None
    except BaseException as caught:
        error = f'{type(caught).__name__}: {caught}'.splitlines()[0]
    print('\\n' + json.dumps({'import': name, 'error': error}), flush=True)
try:
    import torch
    found = torch.cuda.is_available()
    print('\\n' + json.dumps({
        'cuda': torch.cuda.get_device_name() if found else None,
        'bf16': found and torch.cuda.is_bf16_supported(),
    }))
except Exception:
    pass
"""


class Finding(NamedTuple):
    """Something that is wrong, its severity, and the command that fixes it."""

    severity: str
    problem: str
    remedy: str


class Machine(NamedTuple):
    """The result of importing everything.

    Attributes:
        errors: message of each import that was tried; None if it worked.
        cuda: name of the CUDA device, or None.
        bf16: whether that device computes in bfloat16.
    """

    errors: Mapping[str, str | None]
    cuda: str | None = None
    bf16: bool = False


class Installer(NamedTuple):
    """How packages are installed into the Python that runs this."""

    command: str

    @classmethod
    def find(cls) -> Installer:
        if shutil.which('uv'):
            return cls(f'uv pip {{}} --python {sys.executable}')
        return cls(f'{sys.executable} -m pip {{}}')

    def install(self, *packages: str) -> str:
        return ' '.join([self.command.format('install'), *packages])

    def uninstall(self, *packages: str) -> str:
        yes = [] if self.command.startswith('uv') else ['--yes']
        return ' '.join([self.command.format('uninstall'), *yes, *packages])


def release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``'2.11.0+cpu'`` -> ``(2, 11, 0)``."""
    return tuple(int(part) for part in re.match(r'\d+(\.\d+)*', version).group().split('.'))


def within(version: str, lowest: str, below: str) -> bool:
    """Whether ``lowest <= version < below``."""
    return release(lowest) <= release(version) < release(below)


def read_tested(text: str, python: tuple[int, ...]) -> dict[str, str]:
    """Lines of constraints -> the tested version of each distribution for a version of Python."""
    line = r'^([\w-]+)==([^;\s]+)(?:; python_version (>=|<) "([\d.]+)")?'
    return {
        name: version
        for name, version, sign, bound in re.findall(line, text, re.MULTILINE)
        if not sign or (python >= release(bound)) == (sign == '>=')
    }


def read_allowed(requirements: Iterable[str], tested: Mapping[str, str]) -> dict:
    """Requirements -> ``(lowest, below)`` for each distribution: ``lowest <= version < below``.

    A requirement without an upper bound allows what was tested, up to the next minor version.
    """
    allowed = {}
    for line in requirements:
        name = re.match(r'[\w-]*', line).group()
        bounds = dict(re.findall(r'(>=|<)([\d.]+)', line.partition(';')[0]))
        if '>=' in bounds and name in tested:
            major, minor = release(tested[name])[:2]
            bounds.setdefault('<', f'{major}.{minor + 1}')
        if {'>=', '<'} <= bounds.keys():
            allowed[name] = bounds['>='], bounds['<']
    return allowed


def own_requirements() -> list[str]:
    """What mmmask and its extras require: from its metadata, or in a checkout from the files."""
    try:
        return metadata.requires('mmmask') or []
    except metadata.PackageNotFoundError:
        files = sorted((ROOT / 'requirements').glob('*.txt'))
        return [line for file in files for line in file.read_text().splitlines()]


text = CONSTRAINTS.read_text() if CONSTRAINTS.is_file() else ''
TESTED = read_tested(text, sys.version_info[:2])
ALLOWED = read_allowed(own_requirements(), TESTED)


def allowed_versions(distribution: str) -> tuple[str, str] | None:
    """``lowest, below`` of a distribution; None if mmmask does not require it itself."""
    return ALLOWED.get(re.sub('-(lite|full)$', '', distribution))  # these hold a part of another


def installed_versions() -> dict[str, str]:
    """Version of each known distribution that is installed."""
    versions = {}
    for name in (name for package in PACKAGES for name in package.distributions):
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def providers(package: Package, versions: Mapping[str, str]) -> list[str]:
    """The installed distributions that provide a package."""
    return [name for name in package.distributions if name in versions]


def pin(distribution: str) -> str:
    """The tested version as a requirement, such as ``onedl-mmcv==2.3.6``."""
    return f'{distribution}=={TESTED[distribution]}' if distribution in TESTED else distribution


def recommended(module: str) -> str:
    """The requirement for an import name: ``'mmcv'`` -> ``'onedl-mmcv==2.3.6'``."""
    return pin(BY_MODULE[module].distributions[0])


def check_python(python: tuple[int, ...]) -> Iterator[Finding]:
    """The interpreter itself."""
    found = '.'.join(map(str, python[:2]))
    remedy = 'rm -rf .venv && make demo PYTHON=python3.{}'
    if python[:2] < OLDEST_PYTHON:
        problem = f'Python {found} is too old: the OpenMMLab packages need 3.10 or newer'
        yield Finding(ERROR, problem, remedy.format(11))
    if python[:2] > NEWEST_PYTHON:
        problem = f'Python {found} is newer than 3.13, the newest that was tested'
        yield Finding(WARNING, problem, remedy.format(12))


def check_missing(versions: Mapping[str, str], installer: Installer) -> Iterator[Finding]:
    """Packages without which pre-training is impossible."""
    missing = [p.module for p in PACKAGES if p.needed and not providers(p, versions)]
    if missing:
        remedy = installer.install(*map(recommended, missing))
        yield Finding(ERROR, f'not installed: {", ".join(missing)}', remedy)


def check_versions(versions: Mapping[str, str], installer: Installer) -> Iterator[Finding]:
    """Versions that are not allowed: older ones break, newer ones were not tested."""
    for package, name in ((p, name) for p in PACKAGES for name in providers(p, versions)):
        allowed = allowed_versions(name)
        if allowed is None or within(versions[name], *allowed):
            continue
        wanted = '>={},<{}'.format(*allowed)
        old = release(versions[name]) < release(allowed[0])
        problem = f'{name} {versions[name]} is {"older" if old else "newer"} than the known '
        problem += f'versions, {wanted}'
        severity = ERROR if old and package.needed else WARNING
        yield Finding(severity, problem, installer.install(f'"{name}{wanted}"'))


def check_clashes(versions: Mapping[str, str], installer: Installer) -> Iterator[Finding]:
    """Distributions with the same folder, in which the one installed last overwrites the other."""
    for package in PACKAGES:
        found, is_opencv = providers(package, versions), package.module == 'cv2'
        # OpenCV's builds may be installed over each other if they are of one version.
        if len(found) > 1 and not (is_opencv and len({versions[name] for name in found}) == 1):
            problem = f'{" and ".join(found)} both fill the folder {package.module}/'
            again = installer.install(recommended(package.module))
            remedy = f'{installer.uninstall(*found)} && {again}'
            yield Finding(WARNING if is_opencv else ERROR, problem, remedy)


def check_families(versions: Mapping[str, str], installer: Installer) -> Iterator[Finding]:
    """OpenMMLab's two families mixed, and the original one with a torch too new for it."""
    family = {
        package.module: providers(package, versions)[0]
        for package in PACKAGES
        if is_fork(package.distributions[0]) and providers(package, versions)
    }
    original = {module: name for module, name in family.items() if not is_fork(name)}
    names = sorted(original.values())
    again = installer.install(*map(recommended, original))
    swap = f'{installer.uninstall(*names)} && {again}'
    if original and len(original) < len(family):
        yield Finding(WARNING, f'{", ".join(names)} beside packages of the onedl family', swap)
    torch, engine = versions.get('torch', '0'), versions.get(original.get('mmengine', ''))
    if engine and release(torch) >= (2, 6) and release(engine) <= (0, 10, 7):
        problem = f'mmengine {engine} cannot load its own checkpoints on torch {torch}'
        yield Finding(ERROR, problem, swap)


def is_fork(distribution: str) -> bool:
    """Whether a distribution is one of the maintained forks of OpenMMLab's packages."""
    return distribution.startswith('onedl-')


def check_pairs(versions: Mapping[str, str], installer: Installer) -> Iterator[Finding]:
    """Packages whose versions do not fit together."""
    if 'torch' in versions and 'torchvision' in versions:
        torch, vision = versions['torch'], versions['torchvision']
        both = installer.install(recommended('torch'), recommended('torchvision'))
        minor = release(torch)[1] + 15  # torchvision 0.16 belongs to torch 2.1, and so on
        if ('+cpu' in torch) != ('+cpu' in vision):
            problem = f'torch {torch} and torchvision {vision}: one is a CPU build, the other not'
            yield Finding(ERROR, problem, both)
        elif release(torch)[0] == 2 and release(vision)[:2] != (0, minor):
            problem = f'torchvision {vision} was not built for torch {torch}, which needs '
            yield Finding(ERROR, f'{problem}torchvision 0.{minor}', both)
    wants = [(name, '4.12', '4.13', '< 2.3', pin(name)) for name in BY_MODULE['cv2'].distributions]
    wants.append(('mlxtend', '0.25', '1', '>= 2.3.5', 'mlxtend==0.23.4'))
    for name, lowest, below, wanted, other in wants:
        if 'numpy' in versions and within(versions.get(name, '0'), lowest, below):
            numpy, (sign, bound) = versions['numpy'], wanted.split()
            if (release(numpy) < release(bound)) != (sign == '<'):
                problem = f'{name} {versions[name]} requires numpy {wanted}, found {numpy}'
                yield Finding(WARNING, problem, installer.install(other))


def check_imports(
    versions: Mapping[str, str], machine: Machine, installer: Installer
) -> Iterator[Finding]:
    """Packages that are installed but do not import, and operators of mmcv that do not load."""
    errors = machine.errors
    for package in PACKAGES:
        error = errors.get(package.module)
        if error and providers(package, versions):
            # A server without a screen lacks libGL, which the headless build does not need.
            headless = package.module == 'cv2' and '.so' in error
            wanted = pin('opencv-python-headless') if headless else recommended(package.module)
            remedy = installer.install('--force-reinstall', '--no-deps', wanted)
            severity = ERROR if package.needed else WARNING
            yield Finding(severity, f'{package.module} does not import: {error}', remedy)
    error = errors.get('mmpretrain.models')
    if error and not errors.get('mmpretrain'):
        remedy = installer.install(recommended('mmpretrain'), recommended('mmcv'))
        # mmpretrain's multi-modal models need transformers 4, and load if both are installed.
        if 'pycocotools' in versions and release(versions.get('transformers', '0')) >= (5,):
            remedy = installer.install('"transformers<5"')
        yield Finding(ERROR, f'mmpretrain.models does not import: {error}', remedy)
    error = errors.get('mmcv.ops')
    if error and not errors.get('mmcv') and not has_no_operators(error):
        name, *_ = providers(BY_MODULE['mmcv'], versions)
        flags = '--force-reinstall --no-deps --no-cache-dir --no-binary :all:'
        remedy = f'MMCV_WITH_OPS=0 {installer.install(flags, f"{name}=={versions[name]}")}'
        problem = f'the compiled operators of mmcv do not load: {error}'
        yield Finding(WARNING, f'{problem}. Without them, torchvision computes them', remedy)


def has_no_operators(error: str) -> bool:
    """Whether mmcv.ops does not import because mmcv was installed without compiled operators."""
    return 'mmcv._ext' in error and 'ModuleNotFoundError' in error


def operators_of(machine: Machine) -> str:
    """Whose operators detectors use, for the report."""
    if machine.errors.get('mmcv', 'not installed'):
        return 'none'
    error = machine.errors.get('mmcv.ops')
    if error is None:
        return "mmcv's"
    return "torchvision's" if has_no_operators(error) else "mmcv's, which do not load"


def find_problems(
    versions: Mapping[str, str], python: tuple[int, ...], machine: Machine, installer: Installer
) -> list[Finding]:
    """Everything that is wrong, errors first."""
    findings = [
        *check_python(python),
        *check_missing(versions, installer),
        *check_clashes(versions, installer),
        *check_families(versions, installer),
        *check_pairs(versions, installer),
        *check_versions(versions, installer),
        *check_imports(versions, machine, installer),
    ]
    return sorted(findings, key=lambda finding: finding.severity != ERROR)


def examine_machine(versions: Mapping[str, str]) -> Machine:
    """Import every installed package in a process of its own."""
    modules = [package.module for package in PACKAGES if providers(package, versions)]
    modules += [f'{name}.{part}' for name, part in DEEPER if name in modules]
    command = [sys.executable, '-c', PROBE, *modules]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    # Some packages print something when they are imported.
    lines = [json.loads(line) for line in process.stdout.splitlines() if line.startswith('{"')]
    errors = {line['import']: line['error'] for line in lines if 'import' in line}
    crashed = next((name for name in modules if name not in errors), None)
    if crashed:
        errors[crashed] = f'the interpreter stopped with exit code {process.returncode}'
    device = next((line for line in lines if 'cuda' in line), {})
    return Machine(errors, device.get('cuda'), bool(device.get('bf16')))


def table(versions: Mapping[str, str], machine: Machine) -> list[tuple[str, ...]]:
    """A row for each package: import name, version, distribution, known versions, use, status."""
    rows = []
    for package in PACKAGES:
        found = providers(package, versions)
        allowed = allowed_versions(found[0] if found else package.distributions[0])
        if not found:
            status = 'MISSING' if package.needed else 'not installed'
        elif machine.errors.get(package.module):
            status = 'DOES NOT IMPORT'
        else:
            tested = allowed is None or within(versions[found[0]], *allowed)
            status = 'ok' if tested else 'not tested'
        version = versions[found[0]] if found else '-'
        known = '>={},<{}'.format(*allowed) if allowed else '-'
        provider = ' + '.join(found) or '-'
        rows.append((package.module, version, provider, known, package.purpose, status))
    return rows


def report(versions: Mapping[str, str], machine: Machine, findings: list[Finding]) -> str:
    """The text that is printed."""
    header = ('package', 'version', 'provided by', 'known versions', 'needed for', 'status')
    rows = [header, *table(versions, machine)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, '  '.join('-' * width for width in widths))
    device = machine.cuda or 'no CUDA device, training runs on the CPU'
    precision = 'bf16' if machine.bf16 else 'fp16' if machine.cuda else 'fp32'
    lines += [
        '',
        f'Python {sys.version.split()[0]}: {sys.executable}',
        f'device: {device}; default precision {precision}',
        f'operators of detectors: {operators_of(machine)}',
        '',
    ]
    for severity, problem, remedy in findings:
        lines += [f'{severity}: {problem}', f'    fix: {remedy}']
    broken = any(finding.severity == ERROR for finding in findings)
    lines.append('Pre-training cannot start.' if broken else 'Ready for pre-training.')
    return '\n'.join(lines)


def main() -> int:
    """Print the report; returns 0 if pre-training can start and 1 if not."""
    print('importing every package, which takes a few seconds ...\n', file=sys.stderr, flush=True)
    versions = installed_versions()
    machine = examine_machine(versions)
    findings = find_problems(versions, sys.version_info[:3], machine, Installer.find())
    print(report(versions, machine, findings))
    return int(any(finding.severity == ERROR for finding in findings))


if __name__ == '__main__':
    sys.exit(main())
