"""Files of all kinds in a folder of images: decoded correctly, or skipped, counted and listed."""

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageFile

from mmmask.datasets import ImageFolder, decode_image, listing

RED = (250, 20, 30)


def encode(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def flat(mode='RGB', color=RED, size=(6, 8)) -> Image.Image:
    return Image.new('RGB', size, color).convert(mode)


def palette() -> Image.Image:
    image = Image.new('P', (6, 8), 1)
    image.putpalette([0, 0, 0, *RED])
    return image


def rotated() -> bytes:
    """An image on its side: after the quarter turn of its tag the red half is at the top."""
    image = Image.new('RGB', (8, 6), RED)
    image.paste((0, 0, 0), (4, 0, 8, 6))
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(image, 'PNG', exif=exif)


def frames(format: str) -> bytes:
    """An image that another one follows: a page of a TIFF or a frame of an animation."""
    blue = flat(color=(0, 0, 255))
    options = dict(lossless=True) if format == 'WEBP' else {}
    return encode(flat(), format, save_all=True, append_images=[blue], **options)


def strange_orientation() -> bytes:
    """A PNG whose tag for the orientation is a text."""
    content = encode(flat(), 'PNG')
    tags = b'MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x02A\0\0\0\0\0\0\0'
    body = b'eXIf' + tags
    chunk = struct.pack('>I', len(tags)) + body + struct.pack('>I', zlib.crc32(body))
    return content[:33] + chunk + content[33:]


def wrong_checksum() -> bytes:
    content = bytearray(encode(flat(), 'PNG'))
    content[45] ^= 255
    return bytes(content)


def bomb(width=30_000, height=30_000) -> bytes:
    """The start of a PNG that claims 900 million pixels."""
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    body = b'IHDR' + header
    chunk = struct.pack('>I', 13) + body + struct.pack('>I', zlib.crc32(body))
    return b'\x89PNG\r\n\x1a\n' + chunk + encode(flat(), 'PNG')[33:]


PHOTOGRAPH = encode(Image.fromarray(skimage.data.chelsea()), 'JPEG')
DECODED = {
    'CMYK': (encode(flat('CMYK'), 'JPEG', quality=95), 4),
    'palette': (encode(palette(), 'PNG'), 0),
    'transparent palette': (encode(palette(), 'PNG', transparency=0), 0),
    'RGBA': (encode(flat('RGBA'), 'PNG'), 0),
    'animated': (frames('GIF'), 0),
    'animated PNG': (frames('PNG'), 0),
    'animated WebP': (frames('WEBP'), 0),
    'pages': (frames('TIFF'), 0),
    'CMYK TIFF': (encode(flat('CMYK'), 'TIFF'), 0),
    'YCbCr TIFF': (encode(flat('YCbCr'), 'TIFF'), 2),
    'no colour profile': (encode(flat(), 'PNG', icc_profile=b'garbage' * 10), 0),
    'no orientation': (strange_orientation(), 0),
    'no end': (encode(flat(), 'PNG')[:-12], 0),
    'one pixel': (encode(flat(size=(1, 1)), 'PNG'), 0),
    'a JPEG named PNG': (encode(flat(), 'JPEG', quality=95), 4),
}
SKIPPED = {
    'truncated JPEG': (PHOTOGRAPH[:5000], 'truncated'),
    'truncated PNG': (encode(Image.fromarray(skimage.data.chelsea()), 'PNG')[:5000], ''),
    'zero bytes': (b'', 'the file is empty'),
    'text': (b'<html>404 Not Found</html>', 'not an image of a known format'),
    'zeros': (bytes(4096), 'not an image of a known format'),
    'bomb': (bomb(), 'decompression bomb|more than 89,478,485'),
    'large': (bomb(9500, 9500), '9500 x 9500 pixels, more than 89,478,485'),
    'a wrong checksum': (wrong_checksum(), ''),
    'drawing': (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'not an image of a known format'),
}


@pytest.fixture
def folder(tmp_path):
    """Nine good images; tests add others."""
    folder = tmp_path / 'images'
    folder.mkdir()
    for number in range(1, 10):
        flat(color=(number,) * 3).save(folder / f'good{number}.png')
    return folder


@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
@pytest.mark.parametrize('kind', DECODED)
def test_decoded(folder, tmp_path, kind):
    content, tolerance = DECODED[kind]
    (folder / 'a.png').write_bytes(content)
    report = tmp_path / 'report.txt'
    image = ImageFolder(folder, report_file=str(report))[0]['img']
    assert image.dtype == np.uint8 and image.shape[2] == 3
    assert np.abs(image.astype(int) - RED[::-1]).max() <= tolerance
    assert not report.exists()


def test_upright(folder):
    (folder / 'a.png').write_bytes(rotated())
    image = ImageFolder(folder)[0]['img']
    assert image.shape == (8, 6, 3)
    assert (image[:4] == RED[::-1]).all() and (image[4:] == 0).all()


@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
@pytest.mark.parametrize('kind', SKIPPED)
def test_skipped_counted_and_listed(folder, tmp_path, kind):
    content, reason = SKIPPED[kind]
    (folder / 'a.png').write_bytes(content)
    report = tmp_path / 'report.txt'
    dataset = ImageFolder(folder, report_file=str(report))
    for _ in range(2):
        values = [int(dataset[index]['img'].max()) for index in range(10)]
        assert values[1:] == list(range(1, 10))
        assert values[0] in range(1, 10)  # another image, never zeros
    (line,) = report.read_text().splitlines()
    path, message = line.split('\t')
    assert path == f'{folder}/a.png'
    assert any(part in message for part in reason.split('|'))


def test_pillow_may_not_fill_what_is_missing(monkeypatch):
    """Some packages allow it for the whole process; Pillow then fills the rest with grey."""
    monkeypatch.setattr(ImageFile, 'LOAD_TRUNCATED_IMAGES', True)
    with pytest.raises(OSError, match='truncated'):
        decode_image(PHOTOGRAPH[:5000])


class TestVanishing:
    def test_one_file(self, folder, tmp_path):
        report = tmp_path / 'report.txt'
        dataset = ImageFolder(folder, report_file=str(report))
        assert dataset[4]['img'].max() == 5
        (folder / 'good5.png').unlink()
        sample = dataset[4]
        assert sample['img'].max() in {1, 2, 3, 4, 6, 7, 8, 9}
        assert 'FileNotFoundError' in report.read_text()

    def test_a_fraction_of_the_files(self, folder):
        dataset = ImageFolder(folder, max_unreadable=0.3)
        for number in (2, 3, 4):
            (folder / f'good{number}.png').unlink()
        with pytest.raises(RuntimeError, match=r'3 of 9 images.*max_unreadable=30%'):
            [dataset[index] for index in range(9)]

    def test_the_whole_disk(self, tmp_path):
        """A long run has read nearly all files, so the fraction would be reached far too late."""
        folder = tmp_path / 'disk'
        folder.mkdir()
        for number in range(300):
            flat(color=(number % 250 + 1,) * 3).save(folder / f'{number:03}.png')
        dataset = ImageFolder(folder, max_unreadable=0.9)
        [dataset[index] for index in range(300)]
        os.rename(folder, tmp_path / 'gone')
        with pytest.raises(RuntimeError, match='no readable image in 100 attempts.*still mounted'):
            dataset[0]


class TestArchives:
    def test_names_that_lead_out_are_skipped(self, tmp_path):
        (tmp_path / 'outside.png').write_bytes(encode(flat(), 'PNG'))
        with zipfile.ZipFile(tmp_path / 'evil.zip', 'w') as archive:
            for name in ('../outside.png', 'a/../../outside.png', 'good.png'):
                archive.writestr(name, encode(flat(color=(9, 9, 9)), 'PNG'))
        before = sorted(tmp_path.rglob('*'))
        dataset = ImageFolder(tmp_path / 'evil.zip')
        assert [Path(dataset[i]['img_path']).name for i in range(len(dataset))] == ['good.png']
        assert sorted(tmp_path.rglob('*')) == before

    def test_a_member_that_unpacks_to_more_than_an_image(self, tmp_path, monkeypatch):
        monkeypatch.setattr(listing, 'MAX_BYTES', 10_000)
        with zipfile.ZipFile(tmp_path / 'x.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
            archive.writestr('a.png', bytes(1_000_000))
            archive.writestr('b.png', encode(flat(), 'PNG'))
        report = tmp_path / 'report.txt'
        dataset = ImageFolder(tmp_path / 'x.zip', max_unreadable=0.6, report_file=str(report))
        assert (dataset[0]['img'] == RED[::-1]).all()
        assert 'the file has 1,000,000 bytes, more than 10,000' in report.read_text()
