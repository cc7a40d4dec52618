"""``python -m mmmask.doctor``: what is installed, what is wrong with it, and what mends it.

Only the standard library is imported here, so that it runs where nothing else does.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import NamedTuple

ERROR, WARNING = 'error', 'warning'
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 12)


class Package(NamedTuple):
    """An import name, the distributions that can provide it, and the versions that are known.

    Attributes:
        module: import name.
        distributions: distributions that fill it; what is recommended comes first.
        lowest, below: known versions of the first distribution, as ``lowest <= version < below``.
        tried: the version of the first distribution that the tests run with.
        purpose: what needs it; ``'pre-training'`` cannot be done without.
    """

    module: str
    distributions: tuple[str, ...]
    lowest: str
    below: str
    tried: str
    purpose: str = 'pre-training'


PACKAGES = (
    Package('torch', ('torch',), '2.5', '2.12', '2.11.0'),
    Package('torchvision', ('torchvision',), '0.20', '0.27', '0.26.0'),
    Package('numpy', ('numpy',), '1.24', '2.6', '2.4.6'),
    Package(
        'cv2',
        ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python'),
        '4.5',
        '4.13',
        '4.11.0.86',
    ),
    Package('PIL', ('pillow',), '9.4', '14', '13.0.0'),
    Package('rich', ('rich',), '13', '16', '15.0.0'),
    Package('safetensors', ('safetensors',), '0.4', '1', '0.8.0'),
    Package(
        'mmengine', ('onedl-mmengine', 'mmengine', 'mmengine-lite'), '0.10.12', '0.11', '0.10.12'
    ),
    Package('mmcv', ('onedl-mmcv', 'mmcv', 'mmcv-lite', 'mmcv-full'), '2.3.6', '2.4', '2.3.6'),
    Package('mmpretrain', ('onedl-mmpretrain', 'mmpretrain'), '1.3.6', '1.4', '1.3.6'),
    Package('mmdet', ('onedl-mmdetection', 'mmdet'), '3.5.1', '3.6', '3.5.1', 'detection'),
    Package(
        'mmseg', ('onedl-mmsegmentation', 'mmsegmentation'), '1.4.2', '1.5', '1.4.2', 'segmentation'
    ),
    Package('pycocotools', ('pycocotools',), '2.0.6', '2.1', '2.0.11', 'detection'),
    Package('timm', ('timm',), '1.0', '1.1', '1.0.31', 'export'),
    Package('transformers', ('transformers',), '4.53', '5', '4.57.6', 'export'),
    Package('faiss', ('faiss-cpu',), '1.8', '1.16', '1.15.1', 'retrieval'),
    Package('mlxtend', ('mlxtend',), '0.23.4', '0.26', '0.25.0', 'demo'),
    Package('skimage', ('scikit-image',), '0.22', '0.27', '0.26.0', 'demo'),
    Package('sklearn', ('scikit-learn',), '1.4', '1.10', '1.9.1', 'demo'),
    Package('matplotlib', ('matplotlib',), '3.7', '3.12', '3.11.2', 'demo'),
    Package('kornia', ('kornia',), '0.9', '0.10', '0.9.0', 'augment'),
    Package('tensorboard', ('tensorboard',), '2.15', '2.22', '2.21.0', 'demo'),
)
BY_MODULE = {package.module: package for package in PACKAGES}
# The releases of the original OpenMMLab packages that the plugin is written for.
ORIGINALS = {
    'mmengine': ('0.10.3', '0.11'),
    'mmengine-lite': ('0.10.3', '0.11'),
    'mmcv': ('2.0.1', '2.3'),
    'mmcv-lite': ('2.0.1', '2.3'),
    'mmpretrain': ('1.2', '1.3'),
    'mmdet': ('3.3', '3.4'),
    'mmsegmentation': ('1.2.2', '1.3'),
}

# Parts that may fail to import where the package itself does not.
DEEPER = (('mmpretrain', 'models'), ('mmcv', 'ops'))

# Each import in turn, one line of JSON each, so that a crash still tells what came before.
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
        'torch': torch.__version__,
        'cuda': torch.cuda.get_device_name() if found else None,
        'bf16': found and torch.cuda.is_bf16_supported(),
    }))
except Exception:
    pass
"""


class Finding(NamedTuple):
    """Something wrong, how bad it is, and the command that mends it."""

    severity: str
    problem: str
    remedy: str


class Machine(NamedTuple):
    """What importing for real has shown.

    Attributes:
        errors: message of each import that was tried; None for one that works.
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


def installed_versions() -> dict[str, str]:
    """Version of each known distribution that is installed."""
    versions = {}
    for package in PACKAGES:
        for name in package.distributions:
            try:
                versions[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
    return versions


def providers(package: Package, versions: Mapping[str, str]) -> list[str]:
    """The installed distributions that fill a package's folder."""
    return [name for name in package.distributions if name in versions]


def known_versions(package: Package, distribution: str) -> tuple[str, str]:
    """``lowest, below`` for the distribution that provides a package."""
    return ORIGINALS.get(distribution, (package.lowest, package.below))


def pin(package: Package) -> str:
    """The recommended requirement, such as ``onedl-mmcv==2.3.6``."""
    return f'{package.distributions[0]}=={package.tried}'


def check_python(python: tuple[int, ...]) -> list[Finding]:
    """The interpreter itself."""
    found = '.'.join(map(str, python[:2]))
    if python[:2] < OLDEST_PYTHON:
        return [
            Finding(
                ERROR,
                f'Python {found} is too old: the OpenMMLab packages need 3.10 or newer',
                'rm -rf .venv && make demo PYTHON=python3.11',
            )
        ]
    if python[:2] > NEWEST_PYTHON:
        return [
            Finding(
                WARNING,
                f'Python {found} is newer than 3.12, the newest that was tried',
                'rm -rf .venv && make demo PYTHON=python3.12',
            )
        ]
    return []


def check_missing(versions: Mapping[str, str], installer: Installer) -> list[Finding]:
    """Packages that pre-training cannot do without."""
    missing = [
        package
        for package in PACKAGES
        if package.purpose == 'pre-training' and not providers(package, versions)
    ]
    if not missing:
        return []
    names = ', '.join(package.module for package in missing)
    return [Finding(ERROR, f'not installed: {names}', installer.install(*map(pin, missing)))]


def check_versions(versions: Mapping[str, str], installer: Installer) -> list[Finding]:
    """Versions outside the known range: older ones break, newer ones were not seen yet."""
    findings = []
    for package in PACKAGES:
        for name in providers(package, versions):
            lowest, below = known_versions(package, name)
            if within(versions[name], lowest, below):
                continue
            old = release(versions[name]) < release(lowest)
            findings.append(
                Finding(
                    ERROR if old and package.purpose == 'pre-training' else WARNING,
                    f'{name} {versions[name]} is {"older" if old else "newer"} than the known '
                    f'versions, >={lowest},<{below}',
                    installer.install(f'"{name}>={lowest},<{below}"'),
                )
            )
    return findings


def check_clashes(versions: Mapping[str, str], installer: Installer) -> list[Finding]:
    """Distributions that fill the same folder, so that the last one installed wins."""
    findings = []
    for package in PACKAGES:
        found = providers(package, versions)
        # OpenCV's builds may lie on top of each other as long as they are of one version.
        if len(found) < 2 or (package.module == 'cv2' and len({versions[n] for n in found}) == 1):
            continue
        findings.append(
            Finding(
                WARNING if package.module == 'cv2' else ERROR,
                f'{" and ".join(found)} both fill the folder {package.module}/',
                f'{installer.uninstall(*found)} && {installer.install(pin(package))}',
            )
        )
    return findings


def check_families(versions: Mapping[str, str], installer: Installer) -> list[Finding]:
    """OpenMMLab's two families mixed, and the original one on a torch that it cannot serve."""
    family = {
        package.module: providers(package, versions)[0]
        for package in PACKAGES
        if package.distributions[0].startswith('onedl-') and providers(package, versions)
    }
    original = sorted(name for name in family.values() if not name.startswith('onedl-'))
    forks = [pin(package) for package in PACKAGES if family.get(package.module) in original]
    swap = f'{installer.uninstall(*original)} && {installer.install(*forks)}'
    findings = []
    if original and len(original) < len(family):
        findings.append(
            Finding(WARNING, f'{", ".join(original)} beside packages of the onedl family', swap)
        )
    engine = versions.get(family.get('mmengine', ''), '')
    torch_new = 'torch' in versions and release(versions['torch']) >= (2, 6)
    if family.get('mmengine') in original and torch_new and release(engine) <= (0, 10, 7):
        findings.append(
            Finding(
                ERROR,
                f'mmengine {engine} cannot load its own checkpoints on torch {versions["torch"]}',
                swap,
            )
        )
    return findings


def check_pairs(versions: Mapping[str, str], installer: Installer) -> list[Finding]:
    """Packages whose versions do not go together."""
    findings = []
    both = installer.install(pin(BY_MODULE['torch']), pin(BY_MODULE['torchvision']))
    if 'torch' in versions and 'torchvision' in versions:
        torch, vision = versions['torch'], versions['torchvision']
        if ('+cpu' in torch) != ('+cpu' in vision):
            findings.append(
                Finding(
                    ERROR,
                    f'torch {torch} and torchvision {vision}: one is a CPU build, the other not',
                    both,
                )
            )
        # torchvision 0.16 belongs to torch 2.1, and so on.
        elif release(torch)[0] == 2 and release(vision)[:2] != (0, release(torch)[1] + 15):
            findings.append(
                Finding(
                    ERROR,
                    f'torchvision {vision} was not built for torch {torch}, which needs '
                    f'torchvision 0.{release(torch)[1] + 15}',
                    both,
                )
            )
    numpy = versions.get('numpy')
    for name in BY_MODULE['cv2'].distributions:
        if numpy and within(versions.get(name, '0'), '4.12', '4.13') and release(numpy) >= (2, 3):
            findings.append(
                Finding(
                    WARNING,
                    f'{name} {versions[name]} wants numpy < 2.3, found {numpy}',
                    installer.install(f'{name}=={BY_MODULE["cv2"].tried}'),
                )
            )
    if numpy and release(versions.get('mlxtend', '0')) >= (0, 25) and release(numpy) < (2, 3, 5):
        findings.append(
            Finding(
                WARNING,
                f'mlxtend {versions["mlxtend"]} wants numpy >= 2.3.5, found {numpy}',
                installer.install('mlxtend==0.23.4'),
            )
        )
    return findings


def check_imports(
    versions: Mapping[str, str], machine: Machine, installer: Installer
) -> list[Finding]:
    """Packages that are installed but do not import, and mmcv's compiled ops."""
    findings = []
    for package in PACKAGES:
        error = machine.errors.get(package.module)
        if not error or not providers(package, versions):
            continue
        remedy = installer.install('--force-reinstall', '--no-deps', pin(package))
        if package.module == 'cv2' and '.so' in error:
            headless = f'opencv-python-headless=={package.tried}'
            remedy = installer.install('--force-reinstall', '--no-deps', headless)
        severity = ERROR if package.purpose == 'pre-training' else WARNING
        findings.append(Finding(severity, f'{package.module} does not import: {error}', remedy))
    error = machine.errors.get('mmpretrain.models')
    if error and not machine.errors.get('mmpretrain'):
        # mmpretrain's multi-modal models want transformers 4, and load where both are installed.
        multimodal = {'pycocotools', 'transformers'} <= set(versions)
        if multimodal and release(versions['transformers']) >= (5,):
            remedy = installer.install('"transformers<5"')
        else:
            remedy = installer.install(pin(BY_MODULE['mmpretrain']), pin(BY_MODULE['mmcv']))
        findings.append(Finding(ERROR, f'mmpretrain.models does not import: {error}', remedy))
    if machine.errors.get('mmcv.ops') and not machine.errors.get('mmcv'):
        # Built in isolation, or taken from a cache, it would come without ops again.
        flags = '--force-reinstall --no-deps --no-build-isolation --no-cache-dir'
        provider, *_ = providers(BY_MODULE['mmcv'], versions)
        is_original = provider in ORIGINALS
        wanted = f'mmcv=={versions[provider]}' if is_original else pin(BY_MODULE['mmcv'])
        remedy = installer.install(flags, wanted)
        if provider == 'mmcv-lite':
            remedy = f'{installer.uninstall(provider)} && {remedy}'
        findings.append(
            Finding(
                WARNING,
                "mmcv's compiled ops are missing: only detection needs them "
                '(compiling takes about 20 CPU minutes; `make test` keeps the result)',
                remedy,
            )
        )
    return findings


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
    # Some packages print while they are imported.
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
        lowest, below = known_versions(package, found[0] if found else '')
        if not found:
            status = 'MISSING' if package.purpose == 'pre-training' else 'not installed'
        elif machine.errors.get(package.module):
            status = 'DOES NOT IMPORT'
        elif not within(versions[found[0]], lowest, below):
            status = 'not tried'
        else:
            status = 'ok'
        version = versions[found[0]] if found else '-'
        provider = ' + '.join(found) or '-'
        known = f'>={lowest},<{below}'
        rows.append((package.module, version, provider, known, package.purpose, status))
    return rows


def report(versions: Mapping[str, str], machine: Machine, findings: list[Finding]) -> str:
    """What is printed."""
    header = ('package', 'version', 'provided by', 'known versions', 'needed for', 'status')
    rows = [header, *table(versions, machine)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, '  '.join('-' * width for width in widths))
    ops = 'mmcv' in machine.errors and not machine.errors.get('mmcv.ops')
    device = machine.cuda or 'no CUDA device, training runs on the CPU'
    precision = 'bf16' if machine.bf16 else 'fp16' if machine.cuda else 'fp32'
    lines += [
        '',
        f'Python {sys.version.split()[0]}: {sys.executable}',
        f'device: {device}; default precision {precision}',
        f"mmcv's compiled ops: {'there' if ops else 'not there'}",
        '',
    ]
    for severity, problem, remedy in findings:
        lines += [f'{severity}: {problem}', f'    mend it with: {remedy}']
    broken = any(finding.severity == ERROR for finding in findings)
    lines.append('Something pre-training needs is broken.' if broken else 'Ready for pre-training.')
    return '\n'.join(lines)


def main() -> int:
    """Print the report; 0 if pre-training can start, 1 if not."""
    print('importing every package, which takes some seconds ...\n', file=sys.stderr, flush=True)
    versions = installed_versions()
    machine = examine_machine(versions)
    findings = find_problems(versions, sys.version_info[:3], machine, Installer.find())
    print(report(versions, machine, findings))
    return int(any(finding.severity == ERROR for finding in findings))


if __name__ == '__main__':
    sys.exit(main())
