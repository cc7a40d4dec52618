#!/usr/bin/env python3
"""Install the wheel into new environments, run commands in each, and write a table."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / 'docs' / 'install.md'
TESTED, NEWEST = '2.11.0', 'newest'  # versions of torch
FAILED = 'no: '
BEGIN, END = '<!-- begin of the table of {} -->\n', '<!-- end of the table of {} -->\n'
EXAMPLES = """
examples:
  python tools/install_matrix.py --python 3.10 3.13 --torch 2.11.0
  python tools/install_matrix.py --write
  python tools/install_matrix.py --extras --write
  python tools/install_matrix.py --extras onnx tiff

Each environment is made with uv outside the checkout and removed afterwards. mmcv gets no compiled
operator. Constraints apply to all packages but torch and torchvision.
"""


class Step(NamedTuple):
    """A command of a column of the table; a column has one or several."""

    column: str
    failure: str  # what the table says if it fails
    command: str
    writes: str = ''  # a file or a pattern of files that must be there afterwards


class Extra(NamedTuple):
    """What an extra promises: modules, and a command that needs them."""

    modules: str
    starts: str  # as in the table
    command: str
    writes: str = ''
    torch: str = TESTED


VERSIONS = """
import platform, torch, numpy, mmengine
print(platform.python_version(), torch.__version__, numpy.__version__, mmengine.__version__)
"""
# 20 images to pre-train on, 5 with a box and a mask each, and a page.
SAMPLES = """
import json
from pathlib import Path
import numpy
from PIL import Image
random = numpy.random.default_rng(0)
for folder, number, high, shape in (
    ('images', 20, 256, (72, 72, 3)), ('street', 5, 256, (72, 72, 3)), ('maps', 5, 2, (72, 72)),
):
    Path(folder).mkdir(exist_ok=True)
    for i in range(number):
        values = random.integers(0, high, shape, dtype=numpy.uint8)
        Image.fromarray(values).save(f'{folder}/{i}.png')
outline = [8, 8, 48, 8, 48, 48, 8, 48]
box = dict(category_id=1, bbox=[8, 8, 40, 40], area=1600, iscrowd=0, segmentation=[outline])
Path('objects.json').write_text(json.dumps(dict(
    images=[dict(id=i, file_name=f'{i}.png', height=72, width=72) for i in range(5)],
    annotations=[dict(id=i + 1, image_id=i, **box) for i in range(5)],
    categories=[dict(id=1, name='noise')],
)))
Path('pages').mkdir(exist_ok=True)
Path('pages/index.md').write_text('# A page')
"""
TRACKERS = """
from pathlib import Path
import mmmask.engine
from mmengine.config import Config
from mmengine.visualization import Visualizer
backends = [
    dict(type='TensorboardVisBackend'),
    dict(type='WandbVisBackend', init_kwargs=dict(mode='offline')),
    dict(type='mmmask.MLflowVisBackend', exp_name='pre-training', run_name='first'),
]
visualizer = Visualizer(vis_backends=backends, save_dir='trackers')
visualizer.add_config(Config(dict(work_dir='.')))
visualizer.add_scalar('loss', 0.5, step=1)
visualizer.close()
folder = Path('trackers/vis_data')
assert all(map(list, map(folder.glob, ('events.*', 'wandb/offline-*', '*/*/metrics/loss'))))
"""
RETRIEVAL = """
import torch
from mmmask.evaluation.retrieval import rank
assert rank(torch.eye(3), torch.eye(3), 1).tolist() == [[0], [1], [2]]
"""
AUGMENT = """
import torch
from mmmask.models.augmentation import view_augmentation
assert view_augmentation(16)(torch.rand(2, 3, 32, 32)).shape == (2, 3, 16, 16)
"""
TIFF = """
import numpy, tifffile
from pathlib import Path
from mmmask.datasets.decoding import decode_image
from mmmask.datasets.pixel_format import PixelFormat
values = numpy.arange(125, dtype=numpy.uint8).reshape(5, 5, 5)
tifffile.imwrite('five.tif', values, compression='lzw', planarconfig='contig')
content = Path('five.tif').read_bytes()
assert (decode_image(content, pixel_format=PixelFormat(channels=5)) == values).all()
"""
SNIPPETS = dict(
    versions=VERSIONS, samples=SAMPLES, trackers=TRACKERS, retrieval=RETRIEVAL, augment=AUGMENT,
    tiff=TIFF,
)  # fmt: skip

REHEARSE = (
    '{bin}/python {package}/tools/train.py {package}/configs/demo/mae_vit-tiny_digits.py '
    '--dry-run --work-dir rehearsal'
)
PRETRAIN = '{bin}/mmmask pretrain --data images --model vit-tiny-p8 --epochs 1 --workers 0 --out '
SMALL = '--pretrained runs/a --epochs 1 --batch-size 4 --workers 0'
DETECT = '{bin}/mmmask detect --data street objects.json --out runs/detector ' + SMALL
SEGMENT = '{bin}/mmmask segment --data street maps --out runs/segmentor ' + SMALL
# It predicts the image that is held out, and keeps the best checkpoint.
DETECTED = 'runs/detector/best_coco_bbox_mAP_epoch_1.pth'
# The original mmcv is built with a setuptools that still has pkg_resources.
INSTALL = (
    '{uv} pip install --python environment -c constraints.txt -b constraints.txt '
    '{wanted} torchvision {wheel}'
)
INSTALLATION = [
    Step('installs', 'no such Python', '{uv} venv --python {python} environment'),
    Step('installs', 'not installed', INSTALL + '[{extras}]'),
    Step(
        'installs',
        'headless OpenCV not installed',
        '{uv} pip install --python environment --force-reinstall --no-deps '
        'opencv-python-headless==4.11.0.86',
    ),
    Step('installs', 'does not import', '{bin}/python -c {versions}'),
]
PAIR = [
    *INSTALLATION,
    Step('rehearsal', 'tools/train.py failed', REHEARSE),
    Step('command pre-trains', 'mmmask list failed', '{bin}/mmmask list'),
    Step('command pre-trains', 'no images', '{bin}/python -c {samples}', 'images/19.png'),
    Step('command pre-trains', 'mmmask pretrain failed', PRETRAIN + 'runs/a', 'runs/a/epoch_1.pth'),
    Step('detector trains', 'mmdet not installed', INSTALL + '[onedl,detection]'),
    Step('detector trains', 'mmmask detect failed', DETECT, DETECTED),
]
EXTRAS = {
    'onedl': Extra(
        'mmcv, mmengine, mmpretrain', '`mmmask pretrain`', PRETRAIN + 'runs/a',
        'runs/a/epoch_1.pth',
    ),
    'openmmlab': Extra(
        'mmcv, mmengine, mmpretrain', '`mmmask pretrain`', PRETRAIN + 'runs/original',
        'runs/original/epoch_1.pth', '2.5.1',
    ),
    'detection': Extra('mmdet', '`mmmask detect`', DETECT, DETECTED),
    'segmentation': Extra('mmseg', '`mmmask segment`', SEGMENT, 'runs/segmentor/epoch_1.pth'),
    'demo': Extra(
        'matplotlib, mlxtend, skimage, sklearn, scipy, tensorboard', 'rehearsal of the demo',
        REHEARSE,
    ),
    'export': Extra(
        'timm, transformers', '`mmmask export --to timm`',
        '{bin}/mmmask export runs/a --to timm --out timm.safetensors', 'timm.safetensors',
    ),
    'onnx': Extra(
        'onnx, onnxruntime, onnxscript', '`mmmask export --to onnx`',
        '{bin}/mmmask export runs/a --to onnx --out backbone.onnx', 'backbone.onnx',
    ),
    'trackers': Extra(
        'tensorboard, wandb, mlflow', 'a value for each of the three',
        '{bin}/python -c {trackers}',
    ),
    'retrieval': Extra('faiss', 'a search', '{bin}/python -c {retrieval}'),
    'augment': Extra('kornia', 'two views on the device', '{bin}/python -c {augment}'),
    'parquet': Extra(
        'pyarrow', '`mmmask embed --out x.parquet`',
        '{bin}/mmmask embed runs/a --data images --workers 0 --out features.parquet',
        'features.parquet',
    ),
    'tiff': Extra(
        'tifffile, imagecodecs', 'five channels, compressed', '{bin}/python -c {tiff}', 'five.tif'
    ),
    'docs': Extra(
        'sphinx, furo, myst_parser, nbclient, ipykernel', 'a page',
        '{bin}/sphinx-build -q -C -D extensions=myst_parser -D html_theme=furo pages site',
        'site/index.html',
    ),
    'test': Extra(
        'pytest, xdist, pytest_timeout, hypothesis, importlinter, playwright, ruff',
        '`pytest tests/test_losses.py`',
        '{bin}/python -m pytest -q -p no:cacheprovider {root}/tests/test_losses.py',
    ),
    'dev': Extra(
        'pre_commit', 'the hooks are read',
        '{bin}/pre-commit validate-config {root}/.pre-commit-config.yaml',
    ),
}  # fmt: skip


def run(*command: str | Path, **kwargs) -> subprocess.CompletedProcess:
    """Run a command; one that is not there has the status of a shell."""
    command = [str(part) for part in command]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(command, 127, '', str(error))


def find_uv() -> str:
    """The uv of the environment, or of PATH."""
    beside = Path(sys.executable).with_name('uv')
    return str(beside) if beside.exists() else 'uv'


def constraints_without_torch(folder: Path) -> Path:
    """A copy of the constraints that leaves torch and torchvision free."""
    text = (ROOT / 'requirements' / 'constraints.txt').read_text()
    lines = [line for line in text.splitlines() if not line.startswith(('torch=', 'torchvision='))]
    path = folder / 'constraints.txt'
    path.write_text('\n'.join(lines))
    return path


def build_wheel(uv: str, folder: Path) -> Path:
    """The wheel of this checkout.

    Raises:
        RuntimeError: if it cannot be built.
    """
    process = run(uv, 'build', '--wheel', '--out-dir', folder, ROOT)
    wheels = sorted(folder.glob('*.whl'))
    if not wheels:
        raise RuntimeError(f'the wheel was not built:\n{process.stderr[-2000:]}')
    return wheels[0]


def try_steps(steps: list[Step], values: dict[str, str], folder: Path) -> tuple[list, dict]:
    """Run commands in a folder, up to the first that fails; the environment is removed.

    Args:
        steps: the commands.
        values: what stands for the names in braces in the commands.
        folder: where they run.

    Returns:
        The versions that were found, and the result of each column.
    """
    constraints_without_torch(folder)
    environment = folder / 'environment'
    values = values | SNIPPETS | dict(root=str(ROOT), bin='environment/bin')
    values['wanted'] = 'torch' if values['torch'] == NEWEST else f'torch=={values["torch"]}'
    # With 0 the original mmcv calls itself mmcv-lite; built without torch, it has no operators.
    operators = str(int(values['extras'] == 'openmmlab'))
    quiet = os.environ | {'MMCV_WITH_OPS': operators, 'OMP_NUM_THREADS': '1'}
    quiet.pop('PYTHONPATH', None)
    versions = [values['python'], values['torch'], '-', '-']
    results = dict.fromkeys((step.column for step in steps), '-')
    try:
        for step in steps:
            package = next(environment.glob('lib/*/site-packages/mmmask/.mim'), '')
            words = [word.format(**values, package=package) for word in shlex.split(step.command)]
            process = run(*words, cwd=folder, env=quiet)
            if process.returncode or (step.writes and not (folder / step.writes).exists()):
                print(f'{step.failure}:\n{process.stderr[-3000:]}', file=sys.stderr)
                results[step.column] = f'{FAILED}{step.failure}'
                break
            results[step.column] = 'yes'
            if step.command.endswith('{versions}'):
                versions = process.stdout.split()[-4:]
    finally:
        shutil.rmtree(environment, ignore_errors=True)
    return versions, results


def try_pair(values: dict[str, str], python: str, torch: str) -> dict[str, str]:
    """A line of the table of versions: install, pre-train, and train a detector."""
    values = values | dict(python=python, torch=torch, extras='onedl,demo')
    with tempfile.TemporaryDirectory(prefix='mmmask-pair-') as folder:
        versions, results = try_steps(PAIR, values, Path(folder))
    return dict(zip(('Python', 'torch', 'numpy', 'mmengine'), versions, strict=True)) | results


def try_extra(values: dict[str, str], python: str, name: str, folder: Path) -> dict[str, str]:
    """A line of the table of extras: install one, import its modules, and use it."""
    extra = EXTRAS[name]
    family = name if name in ('onedl', 'openmmlab') else f'onedl,{name}'
    values = values | dict(python=python, torch=extra.torch, extras=family)
    steps = [
        *INSTALLATION,
        Step('imports', extra.modules, f'{{bin}}/python -c "import {extra.modules}"'),
        Step('starts', 'no images', '{bin}/python -c {samples}', 'images/19.png'),
        Step('starts', extra.starts, extra.command, extra.writes),
    ]
    versions, results = try_steps(steps, values, folder)
    for column, text in dict(imports=extra.modules, starts=extra.starts).items():
        if results[column] == 'yes':
            results[column] = text
    return dict(extra=f'`{name}`', Python=versions[0], torch=versions[1]) | results


def write_table(rows: list[dict[str, str]]) -> str:
    """Rows -> Markdown."""
    lines = [f'| {" | ".join(rows[0])} |', '|' + '---|' * len(rows[0])]
    lines += [f'| {" | ".join(row.values())} |' for row in rows]
    return '\n'.join(lines) + '\n'


def replace_table(text: str, name: str, table: str) -> str:
    """A page with another table between the two comments of this name."""
    before, rest = text.split(BEGIN.format(name))
    _, after = rest.split(END.format(name))
    return f'{before}{BEGIN.format(name)}\n{table}\n{END.format(name)}{after}'


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--python', nargs='+', help='3.10 to 3.13 by default, and 3.12 for the extras'
    )
    parser.add_argument(
        '--torch', nargs='+', default=[TESTED, NEWEST], help=f'versions, or "{NEWEST}"'
    )
    parser.add_argument(
        '--extras', nargs='*', choices=EXTRAS, metavar='NAME',
        help='install each extra alone, all of them by default, with the tested torch',
    )  # fmt: skip
    parser.add_argument(
        '--write', action='store_true', help=f'put the table into {PAGE.relative_to(ROOT)}'
    )
    arguments = parser.parse_args()
    rows = []

    def show(attempt, *what) -> None:
        start = time.monotonic()
        rows.append(attempt(*what))
        print(' | '.join(rows[-1].values()), f'({time.monotonic() - start:.0f} s)', flush=True)

    with tempfile.TemporaryDirectory(prefix='mmmask-matrix-') as folder:
        uv = find_uv()
        values = dict(uv=uv, wheel=str(build_wheel(uv, Path(folder))))
        if arguments.extras is None:
            for python in arguments.python or ['3.10', '3.11', '3.12', '3.13']:
                for torch in arguments.torch:
                    show(try_pair, values, python, torch)
        else:
            for python in arguments.python or ['3.12']:
                work = Path(folder, python)  # the first extra trains what others read
                work.mkdir()
                for name in EXTRAS:
                    if name == 'onedl' or name in (arguments.extras or EXTRAS):
                        show(try_extra, values, python, name, work)
    table = write_table(rows)
    print(f'\n{table}')
    if arguments.write:
        name = 'versions' if arguments.extras is None else 'extras'
        PAGE.write_text(replace_table(PAGE.read_text(), name, table))
    sys.exit(any(text.startswith(FAILED) for row in rows for text in row.values()))


if __name__ == '__main__':
    main()
