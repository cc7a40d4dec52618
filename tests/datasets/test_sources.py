"""Tar archives and tables, one or several, as sources of images."""

import io
import itertools
import json
import os
import sys
import tarfile

import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from mmmask.datasets import ImageFolder, ResumableSampler, SeededDataset

CLASSES = ['zebra', 'ape']  # as a table lists them, not in alphabetical order
BROKEN = 4  # row or number of the damaged image
NAMES = [f'{CLASSES[number % 2]}/{number:08}.png' for number in range(6)]


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def encode(level):
    buffer = io.BytesIO()
    random = np.random.default_rng(level)
    Image.fromarray(random.integers(0, 255, (9, 12, 3), np.uint8)).save(buffer, 'PNG')
    return buffer.getvalue()


IMAGES = [encode(number)[: 40 if number == BROKEN else None] for number in range(6)]


def write_tar(path, files, mode='w'):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo('link.png')
        link.type, link.linkname = tarfile.SYMTYPE, '/etc/hostname'
        archive.addfile(link)


def make_table(numbers, with_names=True):
    """Images and classes as the package datasets writes them."""
    rows = [dict(bytes=IMAGES[number], path=None) for number in numbers]
    kind = pyarrow.struct(dict(bytes=pyarrow.binary(), path=pyarrow.string()))
    columns = dict(
        id=pyarrow.array([str(number) for number in numbers]),
        image=pyarrow.array(rows, kind),
        label=pyarrow.array([number % 2 for number in numbers], pyarrow.int64()),
    )
    features = dict(image=dict(_type='Image'), label=dict(_type='ClassLabel', names=CLASSES))
    described = dict(huggingface=json.dumps(dict(info=dict(features=features))))
    return pyarrow.table(columns, metadata=described if with_names else None)


def write_arrow(path, table, options=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with pyarrow.ipc.new_stream(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=2)


def make_folder(root):
    for name, content in zip(NAMES, IMAGES, strict=True):
        path = root / 'folder' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root / 'folder'


def make_tars(root):
    """As of webdataset, with classes by name in files of their own."""
    for shard, numbers in enumerate(([0, 1], [2, 3, 4], [5])):
        files = {}
        for number in numbers:
            files[f'{number:08}.png'] = IMAGES[number]
            files[f'{number:08}.cls'] = CLASSES[number % 2].encode() + b'\n'
            files[f'{number:08}.json'] = b'{}'
        write_tar(root / 'tars' / f'train-{shard + 8:03}.tar', files)
    return root / 'tars'


def make_range_of_tars(root):
    return f'{make_tars(root)}/train-{{008..010}}.tar'


def make_arrows(root):
    """As of save_to_disk, with two tables of record batches of two rows."""
    write_arrow(root / 'saved/train/data-00000-of-00002.arrow', make_table([0, 1, 2]))
    write_arrow(root / 'saved/train/data-00001-of-00002.arrow', make_table([3, 4, 5]))
    (root / 'saved/train/state.json').write_text('{}')
    return root / 'saved/train'


def make_parquet(root):
    parquet.write_table(make_table(range(6)), root / 'train.parquet', row_group_size=4)
    return root / 'train.parquet'


MAKERS = [make_tars, make_range_of_tars, make_arrows, make_parquet]
each_kind = pytest.mark.parametrize('make', MAKERS, ids=lambda make: make.__name__)


@each_kind
def test_samples_are_those_of_a_folder(tmp_path, make):
    source, folder = make(tmp_path), make_folder(tmp_path)
    found, expected = (
        ImageFolder(one, with_label=True, report_file=tmp_path / f'report{number}')
        for number, one in enumerate([source, folder])
    )
    names = [found.get_data_info(index)['name'] for index in range(6)]
    assert names == sorted(NAMES)
    assert found.metainfo['classes'] == expected.metainfo['classes'] == ['ape', 'zebra']
    for index in range(6):  # also the one in place of the damaged image
        ours, theirs = found[index], expected[index]
        np.testing.assert_array_equal(ours['img'], theirs['img'])
        assert ours['gt_label'] == theirs['gt_label']
    reports = [(tmp_path / f'report{number}').read_text() for number in (0, 1)]
    assert reports[0] == reports[1].replace(str(folder), str(source))
    assert reports[0].startswith(f'{source}/{NAMES[BROKEN]}\t')


@each_kind
def test_order_and_random_numbers_on_resume_are_those_of_a_folder(tmp_path, make):
    orders = []
    for source in (make(tmp_path), make_folder(tmp_path)):
        dataset = SeededDataset(ImageFolder(source, pipeline=[add_random_number]))
        for start in (0, 2):
            sampler = ResumableSampler(dataset, seed=3)
            sampler.set_epoch(1)
            sampler.skip(start)
            loader = torch.utils.data.DataLoader(
                dataset, 2, sampler=sampler, num_workers=2, collate_fn=list
            )
            samples = list(itertools.chain(*loader))
            orders.append([(s['img'].tobytes(), s['number']) for s in samples])
    whole = orders[0]
    assert len({image for image, _ in whole}) == 5
    assert orders == [whole, whole[2:], whole, whole[2:]]


def add_random_number(sample):
    return sample | dict(number=float(np.random.rand()))


def test_cached_images_of_shards(tmp_path):
    source = make_arrows(tmp_path)
    plain, cached = ImageFolder(source), ImageFolder(source, cache_side=100)
    for index in range(6):
        np.testing.assert_array_equal(cached[index]['img'], plain[index]['img'])


def test_a_shard_that_vanishes_or_shrinks_has_unreadable_images(tmp_path):
    report = tmp_path / 'report'
    dataset = ImageFolder(make_tars(tmp_path), report_file=report, max_unreadable=0.9)
    (tmp_path / 'tars/train-010.tar').unlink()  # image 5
    path = tmp_path / 'tars/train-009.tar'
    path.write_bytes(path.read_bytes()[: 512 + len(IMAGES[2]) // 2])  # images 2, 3 and 4
    kept = {ImageFolder(make_folder(tmp_path))[index]['img'].tobytes() for index in (0, 3)}
    assert {dataset[index]['img'].tobytes() for index in range(6)} == kept
    lost = dict(line.split('\t') for line in report.read_text().splitlines())
    assert set(lost) == {f'{tmp_path}/tars/{NAMES[number]}' for number in (2, 3, 4, 5)}
    assert lost[f'{tmp_path}/tars/{NAMES[2]}'] == (
        f'OSError: the shard ends within the file, after {len(IMAGES[2]) // 2} bytes'
    )
    assert lost[f'{tmp_path}/tars/{NAMES[5]}'].startswith('FileNotFoundError')


def test_class_numbers_sort_as_numbers(tmp_path):
    files = {f'{number}.{ending}': content for number in (10, 9) for ending, content in (
        ('png', IMAGES[0]), ('cls', str(number).encode()))}  # fmt: skip
    write_tar(tmp_path / 'shard.tar', files)
    assert ImageFolder(tmp_path / 'shard.tar', with_label=True).metainfo['classes'] == ['09', '10']
    write_arrow(tmp_path / 'data.arrow', make_table([1, 0], with_names=False))
    assert ImageFolder(tmp_path / 'data.arrow', with_label=True).metainfo['classes'] == ['0', '1']


def test_a_tar_with_folders_of_classes(tmp_path):
    files = {'./b/1.png': IMAGES[1], './a/0.png': IMAGES[0], 'a/0.json': b'{}'}
    write_tar(tmp_path / 'shard.tar', files)
    dataset = ImageFolder(tmp_path / 'shard.tar', with_label=True)
    assert [dataset.get_data_info(index)['name'] for index in (0, 1)] == ['a/0.png', 'b/1.png']
    assert dataset.metainfo['classes'] == ['a', 'b']
    below = ImageFolder(tmp_path, prefix='b')
    assert len(below) == 1
    np.testing.assert_array_equal(below[0]['img'], dataset[1]['img'])


def test_parts_of_saved_tables_are_prefixes(tmp_path):
    make_arrows(tmp_path)
    write_arrow(tmp_path / 'saved/test/data-00000-of-00001.arrow', make_table([1]))
    assert len(ImageFolder(tmp_path / 'saved', prefix='train')) == 6
    assert len(ImageFolder(tmp_path / 'saved', prefix='test')) == 1
    with pytest.raises(FileNotFoundError, match=r"shards in \['test', 'train'\]: point source or"):
        ImageFolder(tmp_path / 'saved')


@pytest.mark.parametrize(
    ('write', 'message'),
    [
        (
            lambda root: write_tar(root / 'shard.tar.gz', {'0.png': IMAGES[0]}, 'w:gz'),
            'shard.tar.gz.* is neither .* uncompressed tar .*give a .zip or .tar',
        ),
        (
            lambda root: [
                write_tar(root / f'{name}.tar', {'0.png': IMAGES[0]}) for name in ('a0', 'a1')
            ],
            "a0.tar' and '.*a1.tar' both contain '0.png': rename",
        ),
        (
            lambda root: [write_tar(root / f'{name}-00.tar', {}) for name in ('train', 'test')],
            'shards of 2 kinds, such as test-00.tar, train-00.tar: give one',
        ),
        (
            lambda root: write_tar(root / '0.tar', {'0.png': IMAGES[0], '0.cls': b'a/b'}),
            "has the class 'a/b', which cannot be the name of a folder",
        ),
        (
            lambda root: write_arrow(root / '0.arrow', pyarrow.table(dict(text=['a']))),
            r"has no column of images, but \['text'\]",
        ),
        (
            lambda root: (root / '0.arrow').write_bytes(
                (make_arrows(root.parent) / 'data-00000-of-00002.arrow').read_bytes()[:-400]
            ),
            'is not an intact Arrow table .*write it by save_to_disk',
        ),
        (  # cut between two batches, which pyarrow reads without a word
            lambda root: (root / '0.arrow').write_bytes(
                (make_arrows(root.parent) / 'data-00000-of-00002.arrow').read_bytes()[:-8]
            ),
            r'is not an intact Arrow table \(its end is missing\)',
        ),
        (
            lambda root: write_arrow(
                root / '0.arrow',
                make_table([0, 1]),
                pyarrow.ipc.IpcWriteOptions(compression='zstd'),
            ),
            'is compressed, so its images cannot be read in place',
        ),
        (
            lambda root: write_arrow(
                root / '0.arrow',
                pyarrow.table(dict(image=[dict(bytes=None, path='/0.png')])).cast(
                    pyarrow.schema([make_table([]).schema.field('image')])
                ),
            ),
            'holds the paths of files instead of images',
        ),
    ],
)
def test_what_is_wrong_with_shards_is_said(tmp_path, write, message):
    (tmp_path / 'data').mkdir()
    write(tmp_path / 'data')
    sources = sorted((tmp_path / 'data').iterdir())
    with pytest.raises(ValueError, match=message):
        ImageFolder(tmp_path / 'data' if len(sources) > 1 else sources[0])


def test_a_range_lacks_a_shard_or_ends_before_it_begins(tmp_path):
    make_tars(tmp_path)
    with pytest.raises(FileNotFoundError, match="source='.*/train-011.tar' does not exist"):
        ImageFolder(tmp_path / 'tars' / 'train-{008..011}.tar')
    with pytest.raises(ValueError, match='ends before it begins: swap'):
        ImageFolder(tmp_path / 'tars' / 'train-{010..008}.tar')


def test_tables_without_pyarrow(tmp_path, monkeypatch):
    source = make_arrows(tmp_path)
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    with pytest.raises(ValueError, match=r"arrow' needs pyarrow: pip install 'mmmask\[parquet\]'."):
        ImageFolder(source)


def test_a_parquet_table_is_unpacked_once(tmp_path, monkeypatch):
    source = make_parquet(tmp_path)
    ImageFolder(source)
    (copy,) = (tmp_path / 'cache').rglob('table.arrow')
    with pyarrow.ipc.open_stream(str(copy)) as reader:
        assert reader.read_all().column_names == ['image', 'label']
    changed = os.stat(copy).st_mtime_ns
    ImageFolder(source, with_label=True)
    assert [os.stat(path).st_mtime_ns for path in (tmp_path / 'cache').rglob('*.arrow')] == [
        changed
    ]
