"""The commands in the documents run, on a few small images, or the documents say why not.

Two places say so: a comment in a block, about the commands below it, and a sentence on a page,
about all of its blocks. These commands are parsed only, and so are those with a placeholder for a
config.

Of the others, some run up to a point: a training ends with ``--dry-run``, where a backbone of more
than ten million parameters takes no step, ``make`` prints its recipes, a campaign lists its runs,
a benchmark does no more than read its arguments, and the doctor is not started: ``tests/lab`` and
``tests/test_doctor.py`` run them.
"""

import argparse
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from apis.test_rehearsal_of_families import make_data
from conftest import ROOT, resemble_clone
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from PIL import Image
from test_snippets import NOT_RUN, blocks, documents_with

import mmmask
import mmmask.apis.train
from mmmask.apis import config_trial, convert_checkpoint
from mmmask.checkpoints import find_tensors, open_checkpoint
from mmmask.registry import MODELS

NO_PAGE = re.compile(r'^No test runs the commands on this page: .{10,}', re.MULTILINE)
MANY = 10_000_000  # parameters
rehearse = mmmask.apis.train.rehearse

# Commands as bash reads them

VARIABLES = 'CHANNELS', 'DATA', 'NUM_CLASSES'
RECORDER = r"""
.() { :; }
command_not_found_handle() {
    local line part name
    printf -v line '%s\x1f' "$@"
    line+=$'\x1e'
    for name in VARIABLES; do printf -v part '%s\x1f' "${!name}"; line+=$part; done
    printf '%s\n' "$line" >> "$RECORD"  # at once, as both sides of a pipe run at the same time
}
for tool in TOOLS; do eval "tools/$tool() { command_not_found_handle tools/$tool \"\$@\"; }"; done
"""


def recorded_commands(
    code: str, folder: Path, strictly: bool = True
) -> list[tuple[list[str], dict[str, str]]]:
    """Words and variables of the commands that bash would start; it finds none and starts none."""
    tools = ' '.join(path.name for path in (ROOT / 'tools').iterdir() if path.is_file())
    prelude = RECORDER.replace('VARIABLES', ' '.join(VARIABLES)).replace('TOOLS', tools)
    record = folder / 'record'
    record.unlink(missing_ok=True)
    environment = dict(PATH='/nowhere', HOME=os.getcwd(), RECORD=str(record))
    result = subprocess.run(
        ['/bin/bash', '-c', prelude + code],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not result.stderr or not strictly, result.stderr
    commands = []
    for line in record.read_text().split('\n')[:-1] if record.exists() else ():
        words, values = (part.split('\x1f')[:-1] for part in line.split('\x1e'))
        commands.append((words, {k: v for k, v in zip(VARIABLES, values, strict=True) if v}))
    return commands


def as_python(program: str, *words: str) -> list[str] | None:
    """The module or file and arguments of a command; launchers pass theirs to tools/train.py."""
    if program == 'mmmask':
        return ['mmmask', *words]
    if program == 'python' and words[:2] == ('-m', 'torch.distributed.run'):
        return [*words[words.index('--nproc_per_node') + 2 :]]
    if program == 'python':
        return [*words[1:]] if words[0] == '-m' else [*words]
    if program == 'tools/dist_train.sh':
        config, _, *options = words
        return ['tools/train.py', config, *options]
    if program == 'tools/slurm_train.sh':
        _, _, *options = words
        return ['tools/train.py', *options]
    return [program, *words] if program.startswith('tools/') else None


def start(tool: str, *words: str) -> None:
    """Run a tool or a module in this process.

    Raises:
        SystemExit: as a process would end.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [tool, *words])
        if tool.endswith('.py'):
            runpy.run_path(str(ROOT / tool), run_name='__main__')
        else:
            runpy.run_module(tool, run_name='__main__', alter_sys=True)


# A folder in which they run

# Names of images and annotations in the documents, and what they are here.
NAMES = {
    'images': 'photos',
    'flowers': 'data/imagenet',
    'photographs': 'photos',
    'data/photographs': 'photos',
    'data/clothing10.zip': 'demo/clothing10.zip',
    'data/scans': 'grey',
    'scans': 'grey',
    'street/images': 'data/nuclei/train',
    'street/objects.json': 'data/nuclei/train.json',
    'street/labels': 'data/nuclei/maps/train',
    'street/others': 'data/nuclei/val',
    'street/others.json': 'data/nuclei/val.json',
}
PLACEHOLDERS = {
    '/any/folder/of/images': 'photos',
    'FOLDER': 'photos',
    'CHECKPOINT': 'runs/a/epoch_1.pth',
    'WEIGHTS': 'runs/a/epoch_1.pth',
}
# Files of other projects: made of the initial weights of a demo, in the layout of the project.
OFFICIAL = {
    'mae_pretrain_vit_base.pth': ('mae_vit-tiny', 'mae'),
    'vit_base_localmim_hog_1600ep_pretrain.pth': ('localmim_vit-tiny', 'localmim-vit'),
}
RUN = re.compile(r'((?:runs|work_dirs)/[\w.-]+)(/.+)?')
TRAININGS = 'pretrain', 'finetune', 'detect', 'segment'


def save_initial_weights(config: str, path: str) -> None:
    init_default_scope('mmmask')
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(config).model).state_dict()), path)


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A clone with images, a pre-training in ``runs/a`` and a detector in ``runs/street``."""
    folder = tmp_path_factory.mktemp('place')
    resemble_clone(folder, 70)
    shutil.copytree(ROOT / 'docs' / 'campaign', folder / 'docs' / 'campaign')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_data()
        os.mkdir('street')
        for name, source in NAMES.items():
            os.symlink(folder / source, name)
        os.mkdir('data/tiles')
        for index in range(4):
            np.save(f'data/tiles/{index}.npy', np.full((64, 64, 10), index, np.uint16))
        for file in ('voc', 'yolo'):
            os.mkdir(f'street/{file}')
        Path('street/data.yaml').write_text('names: [nucleus]')
        Path('street/classes.txt').write_text('0 background\n1 nucleus\n')
        for path in Path('street/images').iterdir():
            Path(f'street/yolo/{path.stem}.txt').write_text('0 0.5 0.5 0.4 0.4\n')
            xml = Path(f'data/VOCdevkit/VOC2007/Annotations/2007_trainval_{path.stem}.xml')
            shutil.copy(xml, f'street/voc/{path.stem}.xml')
        with ZipFile('data/gtsrb-32px.zip', 'w') as archive:
            for index, path in enumerate(Path('photos').glob('*/*')):
                name = f'{path.parent.name}/{index}_{index}.png'
                archive.write(path, f'{"val" if index % 4 else "train"}/{name}')
        network = Config.fromfile('configs/demo/localmim_vit-tiny_digits.py').model.backbone
        options = {f'model.backbone.{key}': network[key] for key in ('arch', 'out_indices')}
        quick = dict(epochs=1, workers=0)
        mmmask.pretrain(
            'photos', 'runs/a', model='vit-tiny-p8', batch_size=56, cfg_options=options, **quick
        )
        street = ['street/images', 'street/objects.json']
        mmmask.detect(street, 'runs/street', 'runs/a', batch_size=2, **quick)
        shutil.copytree('runs/a', 'work_dirs/mae')
        for name, (config, layout) in OFFICIAL.items():
            save_initial_weights(f'configs/demo/{config}_digits.py', 'initial.pth')
            convert_checkpoint('initial.pth', name, None, layout)
        save_initial_weights('configs/demo/mae_vit-tiny_digits.py', 'work_dirs/mae/epoch_100.pth')
    return folder


def found(word: str, before: str, config: str | None) -> str:
    """A word of a command; of a run that it names and that is not there, a copy of one is made.

    A checkpoint beside a config of the demo has the initial weights of its network.
    """
    word = PLACEHOLDERS.get(word, word)
    run = RUN.fullmatch(word)
    if not run or before in ('--out', '--work-dir', '--draw'):
        return word
    word = word.replace('*', '1')
    if not os.path.exists(run[1]):
        shutil.copytree('runs/a', run[1])
    if config and word.endswith('.pth'):
        save_initial_weights(config, word)
    elif run[2] and not os.path.exists(word):
        shutil.copy(f'{run[1]}/{"config.py" if word.endswith(".py") else "epoch_1.pth"}', word)
    return word


def shortened(tool: str, *words: str) -> list[str]:
    """A command with options that keep it short, on a batch as small as the data."""
    words = [re.sub('(train_dataloader.batch_size=).*', r'\g<1>2', word) for word in words]
    if tool == 'tools/train.py':
        key = 'train_dataloader.batch_size=2'
        if '--cfg-options' in words:
            words.insert(words.index('--cfg-options') + 1, key)
        else:
            words += ['--cfg-options', key]
        if 'tiny-imagenet' in words[0] and '--data' not in words:
            words += ['--data', 'data/imagenet']  # they list images of the whole data
        return [tool, *words, '--dry-run']
    if tool == 'mmmask' and words[0] in TRAININGS:
        return [tool, *words, '--dry-run', *['--batch-size', '2'] * (words[0] != 'pretrain')]
    if tool == 'tools/campaign.py' and '--report' not in words:
        return [tool, *words, '--list']
    if tool == 'tools/make_digits_on_photographs.py':
        shutil.rmtree(words[0])
        return [tool, *words, '--train', '2', '--val', '2']
    if tool == 'tools/test.py' and words[0].endswith('knn.py'):
        return [tool, *words, '--cfg-options', 'test_cfg.k=[5]']  # of few images
    if tool == 'tools/make_coco.py':
        os.unlink(words[2])  # which is there for the detector
    if tool == 'tools/make_segmentation_maps.py':
        shutil.rmtree(words[1], ignore_errors=True)
    return [tool, *words]


def rehearse_if_small(cfg: Config) -> None:
    init_default_scope(cfg.get('default_scope', 'mmmask'))
    with config_trial.on_meta():
        backbone = MODELS.build(cfg.model.backbone)
    if sum(weights.numel() for weights in backbone.parameters()) < MANY:
        rehearse(cfg)


class Accepted(BaseException):
    """Raised in place of a tool's work, once it has parsed its arguments."""


def parse_only(tool: str, *words: str) -> None:
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self, *args, **kwargs):
        parse(self, *args, **kwargs)
        raise Accepted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', parse_and_stop)
        with pytest.raises((Accepted, SystemExit)) as stopped:
            start(tool, *words)
    assert stopped.type is Accepted, f'{tool} refuses {words}'


def execute(words: list[str], variables: dict[str, str], short: bool = True) -> None:
    """Run a command as a reader would who has the images of ``place``.

    Raises:
        AssertionError: if it fails.
    """
    if words[0] == 'grep':  # at the end of a pipe
        return
    if words[0] == 'make':
        subprocess.run(['make', '-n', *words[1:]], cwd=ROOT, check=True, capture_output=True)
        return
    command = as_python(*words)
    assert command, f'{words[0]} is none of the project: say {NOT_RUN!r} and why'
    if command[0] == 'mmmask.doctor':
        assert len(command) == 1, 'it has no arguments'
        return
    if any('CONFIG' in word for word in command):
        parse_only(*command)
        return
    if command[0] == 'tools/benchmark.py':
        named = [word for word in command if word.startswith('configs/')]
        assert all(os.path.isfile(word) for word in named), words
        parse_only(*command)
        return
    is_drawn = command[:2] == ['mmmask', 'visualize']
    demo = (word for word in command if is_drawn and word.startswith('configs/demo/'))
    config = next(demo, None)
    pairs = zip(command, command[1:], strict=False)
    command = [command[0], *(found(word, before, config) for before, word in pairs)]
    DefaultScope._instance_dict.clear()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, PLACEHOLDERS.get(value, value))
        patch.setattr(mmmask.apis.train, 'rehearse', rehearse_if_small)
        try:
            start(*(shortened(*command) if short else command))
        except SystemExit as ended:
            assert not ended.code, f'{words} ends with {ended.code}: {ended}'


def parts(document: Path) -> list[tuple[str, str]]:
    """What is run of each shell block of a document, and what is not."""
    if NO_PAGE.search(document.read_text()):
        return [('', code) for code in blocks(document, 'shell')]
    found = []
    for code in blocks(document, 'shell'):
        run, _, rest = code.partition(NOT_RUN)
        reason, _, rest = rest.partition('\n')
        assert not rest or len(reason) > 10
        found.append((run, rest))
    return found


@pytest.fixture
def reader(place, tmp_path, monkeypatch):
    """A copy of ``place``, in which a test may write."""
    shutil.copytree(place, tmp_path / 'reader', symlinks=True, copy_function=os.link)
    monkeypatch.chdir(tmp_path / 'reader')
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    monkeypatch.setenv('HOME', str(tmp_path / 'reader'))
    monkeypatch.setenv('WANDB_MODE', 'offline')
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


START = ROOT / 'docs' / 'start.md'


@documents_with('shell')
def test_commands_run(document, reader):
    for code, _ in parts(document):
        for words, variables in recorded_commands(code, reader):
            print('$', *words, flush=True)
            execute(words, variables, short=document != START)
    if document == START:  # which trains indeed
        width, height = Image.open('photos.png').size
        assert width > 500 and height > 300
        names = find_tensors(open_checkpoint('backbone.pth'), 'backbone.pth')
        assert names['backbone.layers.11.ln1.weight'].shape == (192,)


@documents_with('shell')
def test_tools_accept_what_is_not_run(document, tmp_path):
    for _, code in parts(document):
        for words, _ in recorded_commands(code, tmp_path, strictly=False):
            command = as_python(*words)
            if command and command[0].startswith(('tools/', 'mmmask')):
                parse_only(*command)
