"""Decoded copies: made once, keyed by content, shared, and never in the place of other files."""

import multiprocessing
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import skimage.data
import torch
from mmengine.dataset import pseudo_collate
from PIL import Image

from mmmask.datasets import ImageFolder, cache, decode_image, image_folder, shrink_image

PHOTOGRAPH = skimage.data.chelsea()  # 300 x 451


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'mmmask' / 'images'


@pytest.fixture
def folder(tmp_path):
    """Six photographs, one upright and one small, in two classes, and a broken file."""
    for number in range(6):
        image = np.roll(PHOTOGRAPH, 40 * number, axis=1)
        if number == 3:
            image = image.transpose(1, 0, 2)
        if number == 5:
            image = image[:30, :40]
        path = tmp_path / 'images' / 'ab'[number % 2] / f'{number}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, quality=90)
    (tmp_path / 'images' / 'b' / 'broken.jpg').write_bytes(b'words')
    return tmp_path / 'images'


@pytest.fixture
def decoded(monkeypatch):
    """What is decoded."""
    contents = []

    def decode(content, *args):
        contents.append(content)
        return decode_image(content, *args)

    monkeypatch.setattr(image_folder, 'decode_image', decode)
    return contents


def make_zip(folder, path):
    with zipfile.ZipFile(path, 'w') as archive:
        for file in sorted(folder.rglob('*.jpg')):
            archive.write(file, str(file.relative_to(folder)))
    return path


@pytest.mark.parametrize('kind', ['folder', 'zip'])
def test_samples_are_those_of_the_files_made_small(folder, tmp_path, decoded, kind):
    source = folder if kind == 'folder' else make_zip(folder, tmp_path / 'images.zip')
    plain = ImageFolder(source, with_label=True)
    report = tmp_path / 'report.txt'
    cached = ImageFolder(source, with_label=True, cache_side=100, report_file=str(report))
    assert len(decoded) == 14  # seven to estimate the size, and all
    for index in range(6):
        expected, found = plain[index], cached[index]
        assert found['img_path'] == expected['img_path']
        assert found['gt_label'] == expected['gt_label']
        path = folder / found['img_path'][len(str(source)) + 1 :]
        image = shrink_image(decode_image(path.read_bytes(), 100), 100)
        np.testing.assert_array_equal(found['img'], image)
        assert min(image.shape[:2]) in (30, 100) and found['ori_shape'] == image.shape[:2]
    assert cached[6]['img_path'] != f'{source}/b/broken.jpg'  # the broken file
    assert report.read_text() == (
        f'{source}/b/broken.jpg\tValueError: the file is not an image of a known format\n'
    )


def test_what_a_transform_writes_stays_its_own(folder):
    dataset = ImageFolder(folder, cache_side=100)
    first = dataset[0]['img']
    expected = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(dataset[0]['img'], expected)


def test_made_once_and_keyed_by_content(folder, tmp_path, caches, decoded):
    def count(source, **kwargs) -> int:
        decoded.clear()
        ImageFolder(source, **dict(cache_side=100) | kwargs)
        return len(decoded)

    assert count(folder) == 14
    assert count(folder) == count(folder, with_label=True) == 0
    shutil.copytree(folder, tmp_path / 'copy')  # which keeps times
    assert count(tmp_path / 'copy') == 0
    assert count(folder, cache_side=50) == 14
    assert count(folder, prefix='a') == 6
    os.utime(folder / 'a' / '0.jpg', (1, 1))
    assert count(folder) == 14
    (folder / 'a' / '0.jpg').unlink()
    assert count(folder) == 12
    assert len([path for path in caches.iterdir() if path.is_dir()]) == 5


def test_archives_are_keyed_by_their_checksums(folder, tmp_path, decoded):
    first, second = (make_zip(folder, tmp_path / name) for name in ('first.zip', 'second.zip'))
    ImageFolder(first, cache_side=100)
    decoded.clear()
    ImageFolder(second, cache_side=100)
    assert not decoded
    Image.fromarray(PHOTOGRAPH).save(folder / 'a' / '0.jpg', quality=91)
    ImageFolder(make_zip(folder, tmp_path / 'third.zip'), cache_side=100)
    assert len(decoded) == 14


@pytest.mark.parametrize('start', ['fork', 'spawn'])
def test_workers_share_it(folder, start):
    dataset = ImageFolder(folder, prefix='a', cache_side=100)
    expected = [dataset[index]['img'] for index in range(3)]
    assert len(pickle.dumps(dataset)) < 20_000
    loader = torch.utils.data.DataLoader(
        dataset, 1, num_workers=2, collate_fn=pseudo_collate, multiprocessing_context=start
    )
    for batch, image in zip(loader, expected, strict=True):
        np.testing.assert_array_equal(batch['img'][0], image)


def _count_writes(folder, results):
    writes = []
    original = cache._write
    cache._write = lambda *args: (writes.append(args), original(*args))
    image = ImageFolder(folder, cache_side=100)[0]['img']
    results.put((len(writes), int(image.sum())))


def test_processes_that_start_together_write_it_once(folder):
    context = multiprocessing.get_context('fork')
    results = context.Queue()
    processes = [context.Process(target=_count_writes, args=(folder, results)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(writes for writes, _ in found) == [0, 0, 1]
    assert len({total for _, total in found}) == 1


def test_an_interrupted_write_leaves_no_cache(folder, caches, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache, 'in_threads', interrupt)
        with pytest.raises(KeyboardInterrupt):
            ImageFolder(folder, cache_side=100)
    assert not [path for path in caches.iterdir() if path.is_dir()]
    (made,) = {ImageFolder(folder, cache_side=100)._cache}
    shutil.move(made, f'{made}.partial')  # as a killed process leaves it
    (made.with_name(f'{made.name}.partial') / 'shapes.npy').write_bytes(b'torn')
    assert ImageFolder(folder, cache_side=100)[0]['img'].shape == (100, 151, 3)
    assert not made.with_name(f'{made.name}.partial').exists()


def test_foreign_files_stay(folder, caches):
    made = ImageFolder(folder, cache_side=100)._cache
    (made / 'pixels').write_bytes(b'something else')
    cache.open_cache.cache_clear()
    with pytest.raises(ValueError, match=f'{made} is not a whole cache.*remove it'):
        cache.open_cache(ImageFolder(folder, cache_side=100)._cache)
    assert (made / 'pixels').read_bytes() == b'something else'


def test_a_small_disk_is_noticed_before(folder, caches, monkeypatch):
    usage = shutil.disk_usage(folder)._replace(free=cache.FREE_BYTES + 200_000)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
    # Five of 100 x 151 or 151 x 100 and one of 30 x 40 have 230,100 bytes.
    with pytest.raises(OSError, match=r'copies of 7 images need about 0.0 GB.*lower cache_side'):
        ImageFolder(folder, cache_side=100)
    assert not [path for path in caches.iterdir() if path.is_dir()]


def test_a_torn_cache_is_refused(tmp_path):
    with pytest.raises(ValueError, match='not a whole cache'):
        cache.open_cache(tmp_path)
