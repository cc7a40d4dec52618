"""Packaging of mmmask; what it requires is read from ``requirements/``."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


def requirements(*names: str) -> list[str]:
    """The lines of requirement files, comments left out."""
    lines = [
        line.split('#')[0].strip()
        for name in names
        for line in (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    ]
    return [line for line in lines if line]


class BuildWithMim(build_py):
    """Put configs and tools into ``mmmask/.mim``, where OpenMMLab's ``mim`` looks for them.

    The tested versions go there too, which ``mmmask.doctor`` recommends.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for source in self._mim_sources():
            target = Path(self.build_lib, 'mmmask', '.mim', source)
            self.mkpath(str(target.parent))
            self.copy_file(str(ROOT / source), str(target))

    def _mim_sources(self) -> list[Path]:
        found = [*ROOT.glob('configs/**/*.py'), *ROOT.glob('tools/*.py'), *ROOT.glob('tools/*.sh')]
        found += [*ROOT.glob('configs/*/metafile.yml'), ROOT / 'model-index.yml']
        found += [ROOT / 'requirements' / 'constraints.txt', ROOT / 'demo' / 'clothing10.zip']
        return sorted(path.relative_to(ROOT) for path in found)


extras = {
    name: requirements(name)
    for name in (
        'onedl',
        'openmmlab',
        'detection',
        'segmentation',
        'demo',
        'export',
        'onnx',
        'trackers',
        'retrieval',
        'augment',
        'parquet',
        'tiff',
        'docs',
        'test',
        'dev',
    )
}

setup(
    name='mmmask',
    version=re.search(r"__version__ = '(.+)'", (ROOT / 'mmmask/__init__.py').read_text()).group(1),
    description='Self-supervised visual pre-training by masking, as a plugin of OpenMMLab',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license_expression='Apache-2.0',
    license_files=['LICENSE'],
    keywords='self-supervised learning, masked image modelling, pre-training, OpenMMLab',
    python_requires='>=3.10',
    packages=find_packages(include=['mmmask', 'mmmask.*']),
    package_data={'mmmask': ['py.typed']},
    # Neither OpenMMLab family is a hard need: onedl-mmengine and mmengine fill the same folder, and
    # the second to be installed would overwrite the first.
    install_requires=requirements('runtime'),
    extras_require=extras,
    entry_points=dict(console_scripts=['mmmask = mmmask.front.main:main']),
    cmdclass={'build_py': BuildWithMim},
)
