"""Files are written inside their folder only, and replace nothing that mmmask did not write."""

import os

import numpy as np
import pytest
import torch
from conftest import ROOT, build_model
from mmengine.config import Config
from PIL import Image

from mmmask.apis import convert_checkpoint, export_backbone
from mmmask.outputs import MARK, OutputFolder, safe_name


@pytest.mark.parametrize(
    ('name', 'safe'),
    [
        ('a.jpg', 'a.jpg'),
        ('./x/./a.jpg', 'x/a.jpg'),
        ('x/y/a.jpg', 'x/y/a.jpg'),
        ('images\\a.jpg', 'images/a.jpg'),
        ('/home/someone/a.jpg', 'a.jpg'),
        ('C:\\data\\a.jpg', 'a.jpg'),
        ('\\\\server\\share\\x\\a.jpg', 'a.jpg'),
        ('../../x/a.jpg', 'a.jpg'),
        ('..\\a.jpg', 'a.jpg'),
        ('x/../../a.jpg', 'a.jpg'),
        ('..a.jpg', '..a.jpg'),
    ],
)
def test_names_lead_down(name, safe):
    assert safe_name(name) == safe


@pytest.mark.parametrize('name', ['', '.', './', '..', 'x/..', '/', 'C:\\', 'a\0.jpg'])
def test_names_of_no_file(name):
    with pytest.raises(ValueError, match='is not the name of a file'):
        safe_name(name)


def write(folder, name, text):
    with OutputFolder(folder).file(name) as path:
        path.write_text(f'{text}, {MARK}')


def read(path):
    return path.read_text().removesuffix(f', {MARK}')


def test_own_files_are_replaced(tmp_path):
    write(tmp_path / 'out', 'x/a.txt', 'first')
    write(tmp_path / 'out', 'x/b.txt', 'other')
    write(tmp_path / 'out', 'x/a.txt', 'second')
    found = {path.name: read(path) for path in (tmp_path / 'out/x').iterdir()}
    assert found == {'a.txt': 'second', 'b.txt': 'other'}


def test_foreign_files_are_kept(tmp_path):
    (tmp_path / 'a.txt').write_text('of the user')
    (tmp_path / 'folder').mkdir()
    write(tmp_path / 'other', 'b.txt', 'linked')
    (tmp_path / 'own').symlink_to(tmp_path / 'other/b.txt')
    (tmp_path / 'nowhere').symlink_to(tmp_path / 'c.txt')
    for name in ('a.txt', 'folder', 'own', 'nowhere'):
        with pytest.raises(FileExistsError, match=f'{name} exists and was not written by mmmask'):
            write(tmp_path, name, 'new')
    assert (tmp_path / 'a.txt').read_text() == 'of the user'
    assert read(tmp_path / 'other/b.txt') == 'linked'
    assert not (tmp_path / 'c.txt').exists()


@pytest.mark.parametrize('name', ['a.png', 'a.jpg'])
def test_pictures_are_replaced_until_they_are_edited(tmp_path, name):
    for value in (50, 90):
        picture = Image.new('L', (8, 8), value)
        path = OutputFolder(tmp_path).save_image(name, picture)
        assert path == tmp_path / name
        assert np.abs(np.asarray(Image.open(path)).astype(int) - value).max() <= 1
    edited = Image.new('L', (8, 8), 7)
    edited.save(path)
    with pytest.raises(FileExistsError, match='or was edited since: move it away'):
        OutputFolder(tmp_path).save_image(name, picture)
    assert np.abs(np.asarray(Image.open(path)).astype(int) - 7).max() <= 1


def test_a_link_does_not_lead_out(tmp_path):
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/x').symlink_to(tmp_path / 'photos')
    for name in ('x/a.txt', '../photos/a.txt', str(tmp_path / 'photos/a.txt')):
        with pytest.raises(ValueError, match='is not inside'):
            write(tmp_path / 'out', name, 'new')
    assert list((tmp_path / 'photos').iterdir()) == []


def test_two_outputs_of_one_name(tmp_path):
    output = OutputFolder(tmp_path)
    output.claim('a.png', 'image 1')
    output.claim('a.png', 'image 1')
    with pytest.raises(ValueError, match=r'image 1 and image 2 would both be written to .*a\.png'):
        output.claim('a.png', 'image 2')


def test_an_error_while_writing_leaves_what_was_there(tmp_path):
    write(tmp_path, 'a.txt', 'first')
    with pytest.raises(KeyError), OutputFolder(tmp_path).file('a.txt') as path:
        path.write_text('half')
        raise KeyError
    with (
        pytest.raises(ValueError, match="a.txt does not contain 'written by mmmask'"),
        OutputFolder(tmp_path).file('a.txt') as path,
    ):
        path.write_text('could not be replaced later')
    assert read(tmp_path / 'a.txt') == 'first'
    assert [path.name for path in tmp_path.iterdir()] == ['a.txt']


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    write('~/out', 'a.txt', 'text')
    assert os.listdir(tmp_path) == ['out']


def test_conversions_and_exports_replace_only_what_they_wrote(tmp_path):
    config = ROOT / 'configs' / 'demo' / 'mae_vit-tiny_digits.py'
    meta = dict(cfg=Config.fromfile(config).pretty_text)
    torch.save(dict(meta=meta, state_dict=build_model(config).state_dict()), tmp_path / 'own.pth')
    for _ in range(2):
        convert_checkpoint(tmp_path / 'own.pth', tmp_path / 'official.pth', target='mae')
        convert_checkpoint(tmp_path / 'official.pth', tmp_path / 'again.safetensors')
        export_backbone(tmp_path / 'own.pth', tmp_path / 'backbone.pth')
    mine = tmp_path / 'mine.pth'
    mine.write_bytes(b'mine')
    for write in (
        lambda: convert_checkpoint(tmp_path / 'official.pth', mine),
        lambda: convert_checkpoint(tmp_path / 'own.pth', tmp_path / 'own.pth', target='mae'),
        lambda: export_backbone(tmp_path / 'own.pth', mine),
    ):
        with pytest.raises(FileExistsError, match='exists and was not written by mmmask'):
            write()
    assert mine.read_bytes() == b'mine'
