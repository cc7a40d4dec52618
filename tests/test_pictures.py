"""``docs/pictures.sh`` draws every picture that the documents show."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, resemble_clone
from PIL import Image
from test_commands import as_python, parse_only
from test_docs import DOCUMENTS

SCRIPT = ROOT / 'docs' / 'pictures.sh'
PICTURES = sorted(path.name for path in (ROOT / 'docs' / 'images').iterdir())
RECORDER = r"""#!/bin/bash
printf '%s\x1f' "${0##*/}" "$@" >> "$RECORD"
printf '\x1e' >> "$RECORD"
"""


@pytest.fixture
def clone(tmp_path):
    (tmp_path / 'docs' / 'images').mkdir(parents=True)
    shutil.copy(SCRIPT, tmp_path / 'docs')
    for name in PICTURES:
        (tmp_path / 'docs' / 'images' / name).touch()
    return tmp_path


def draw(clone: Path, programs: Path, *names: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ['bash', clone / 'docs' / 'pictures.sh', *names],
        env=os.environ | dict(PATH=f'{programs}:/usr/bin:/bin', RECORD=str(clone / 'record')),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def recorded(clone: Path, *names: str) -> list[list[str]]:
    """The commands that the script would run, none of which is found here."""
    programs = clone / 'programs'
    programs.mkdir()
    for name in ('python', 'mmmask', 'chromium-headless-shell'):
        (programs / name).write_text(RECORDER)
        (programs / name).chmod(0o755)
    result = draw(clone, programs, *names)
    assert (result.returncode, result.stderr) == (0, '')
    lines = (clone / 'record').read_text().split('\x1e')[:-1]
    return [line.split('\x1f')[:-1] for line in lines]


@pytest.mark.parametrize('name', PICTURES)
def test_each_picture_is_drawn_by_commands_that_the_tools_accept(name, clone):
    commands = recorded(clone, name)
    out = f'docs/images/{name}'
    assert out in re.split('[ =]', ' '.join(commands[-1]))
    for words in commands:
        if words[0] != 'chromium-headless-shell' and words[1] != '-c':
            parse_only(*as_python(*words))


def test_without_names_all_are_drawn(clone):
    text = ' '.join(word for words in recorded(clone) for word in words)
    assert sorted(set(re.findall(r'docs/images/(\S+)', text))) == PICTURES


def test_the_documents_show_these_pictures_and_no_others():
    shown = {
        name
        for document in DOCUMENTS
        for name in re.findall(r'\]\((?:\S*/)?images/([^/)]+)\)', document.read_text())
    }
    assert sorted(shown) == PICTURES


def test_another_name_is_refused(clone):
    result = draw(clone, clone, 'mask.jpg')
    assert result.returncode == 1
    assert result.stderr == f'mask.jpg is none of the pictures: {" ".join(PICTURES)}\n'


def test_a_picture_of_the_documents_is_drawn_again(clone):
    resemble_clone(clone, 1)
    (clone / 'docs' / 'images' / 'masks.jpg').unlink()
    result = draw(clone, Path(sys.executable).parent, 'masks.jpg')
    assert result.returncode == 0, result.stderr
    pair = [
        np.asarray(Image.open(folder / 'docs' / 'images' / 'masks.jpg'), np.float32)
        for folder in (clone, ROOT)
    ]
    assert pair[0].shape == pair[1].shape and abs(pair[0] - pair[1]).mean() < 1
