"""The archive of small JPEGs, beside its source."""

import io
import runpy
import sys
import zipfile

import numpy as np
import pytest
import skimage.data
from conftest import ROOT
from PIL import Image

from mmmask.datasets import ImageFolder, shrink_images

PHOTOGRAPH = Image.fromarray(skimage.data.chelsea())  # 451 x 300


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / 'images'
    (folder / 'cat').mkdir(parents=True)
    PHOTOGRAPH.save(folder / 'cat' / 'a.JPEG', quality=95)
    PHOTOGRAPH.save(folder / 'cat' / 'a.png')
    PHOTOGRAPH.resize((150, 100)).save(folder / 'cat' / 'small.jpg', quality=30)
    exif = Image.Exif()
    exif[0x0112] = 6
    PHOTOGRAPH.save(folder / 'side.jpg', exif=exif)
    (folder / 'broken.jpg').write_bytes(b'words')
    return folder


def test_short_sides_names_and_pixels(folder, tmp_path):
    archive = tmp_path / 'out' / 'small.zip'
    assert shrink_images(folder, archive, side=150) == (4, 1)
    with zipfile.ZipFile(archive) as written:
        sizes = {
            name: Image.open(io.BytesIO(written.read(name))).size for name in written.namelist()
        }
        assert sizes == {
            'cat/a.JPEG': (226, 150),
            'cat/a.png.jpg': (226, 150),
            'cat/small.jpg': (150, 100),
            'side.jpg': (150, 226),
        }
        original = (folder / 'cat' / 'small.jpg').read_bytes()
        assert written.read('cat/small.jpg') == original  # not compressed again
    expected = np.asarray(PHOTOGRAPH.resize((226, 150), Image.BICUBIC)).astype(int)
    for index in (0, 1):
        found = ImageFolder(archive)[index]['img'][..., ::-1]
        assert np.abs(found - expected).mean() < 4  # as much as the compression costs
    assert [path.name for path in archive.parent.iterdir()] == ['small.zip']


def test_nothing_is_replaced(folder, tmp_path):
    archive = tmp_path / 'small.zip'
    archive.write_bytes(b'mine')
    with pytest.raises(FileExistsError, match='small.zip exists: remove it'):
        shrink_images(folder, archive, side=150)
    assert archive.read_bytes() == b'mine'


def test_the_command(folder, tmp_path, monkeypatch, capsys):
    command = str(ROOT / 'tools' / 'shrink_images.py')
    archive = tmp_path / 'small.zip'
    arguments = [command, str(folder), str(archive), '--side', '100', '--prefix', 'cat']
    monkeypatch.setattr(sys, 'argv', arguments)
    runpy.run_path(command, run_name='__main__')
    assert f'3 images in {archive}; 0 were unreadable.' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='exists'):
        runpy.run_path(command, run_name='__main__')
    assert zipfile.ZipFile(archive).namelist() == ['a.JPEG', 'a.png.jpg', 'small.jpg']


@pytest.mark.parametrize('options', [dict(side=0), dict(side=100, quality=101)])
def test_values_out_of_range(folder, tmp_path, options):
    with pytest.raises(ValueError, match='must be 1 or more, and quality='):
        shrink_images(folder, tmp_path / 'small.zip', **options)
