import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from PIL import Image

from mmmask.datasets import ImageFolder, ResumableSampler, SeededDataset, image_folder
from mmmask.registry import DATASETS

RED = (250, 20, 30)
TINY_IMAGENET = Path(__file__).parents[3] / 'shared' / 'data' / 'tiny-imagenet-50.zip'


def encode(array, mode=None, format='PNG', **options) -> bytes:
    image = Image.fromarray(np.asarray(array, dtype=np.uint8))
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, format, **options)
    return buffer.getvalue()


def flat(color, size=(8, 6), **kwargs) -> bytes:
    return encode(np.broadcast_to(np.array(color, dtype=np.uint8), (*size, len(color))), **kwargs)


@pytest.fixture
def files():
    """Two classes in nested folders, one image at another depth, and files that are not images."""
    return {
        'cat/a.png': flat((1, 2, 3)),
        'cat/deep/er/b.PNG': flat((4, 5, 6)),
        'dog/c.png': flat((7, 8, 9)),
        'dog/readme.txt': b'words',
        'dog/._c.png': b'resource fork',
        '__MACOSX/dog/c.png': b'resource fork',
    }


@pytest.fixture(params=['folder', 'zip'])
def source(request, tmp_path, files):
    if request.param == 'zip':
        return make_zip(tmp_path / 'photos.zip', files)
    return make_folder(tmp_path / 'photos', files)


def make_folder(folder: Path, files: dict) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def make_zip(path: Path, files: dict) -> Path:
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def log(monkeypatch):
    """The messages of mmengine's current logger."""
    messages = []
    logger = MMLogger.get_instance('image-folder-test')
    monkeypatch.setattr(logger, 'log', lambda level, message, *args: messages.append(message))
    return messages


class TestListing:
    def test_recursive_and_unlabelled(self, source):
        dataset = ImageFolder(source)
        assert len(dataset) == 3
        assert [dataset[i]['img'][0, 0].tolist() for i in range(3)] == [
            [3, 2, 1],
            [6, 5, 4],
            [9, 8, 7],
        ]
        assert 'gt_label' not in dataset[0] and 'classes' not in dataset.metainfo
        assert dataset[1]['img_path'] == f'{source}/cat/deep/er/b.PNG'
        assert dataset[1]['ori_shape'] == (8, 6) and dataset[1]['sample_idx'] == 1

    def test_labels_from_first_level_folders(self, source):
        dataset = ImageFolder(source, with_label=True)
        assert dataset.metainfo['classes'] == ['cat', 'dog']
        assert [dataset[i]['gt_label'] for i in range(3)] == [0, 0, 1]

    def test_given_classes_keep_their_numbers(self, source):
        metainfo = dict(classes=['dog', 'emu', 'cat'])
        dataset = ImageFolder(source, with_label=True, metainfo=metainfo)
        assert [dataset[i]['gt_label'] for i in range(3)] == [2, 2, 0]
        with pytest.raises(ValueError, match=r"lacks \['cat'\]"):
            ImageFolder(source, with_label=True, metainfo=dict(classes=['dog']))

    def test_prefix(self, source):
        dataset = ImageFolder(source, prefix='cat/')
        assert [Path(dataset[i]['img_path']).name for i in range(2)] == ['a.png', 'b.PNG']
        assert dataset[1]['img_path'] == f'{source}/cat/deep/er/b.PNG'

    def test_label_needs_a_folder(self, source):
        with pytest.raises(ValueError, match="'a.png' is in none.*with_label=False"):
            ImageFolder(source, prefix='cat', with_label=True)

    def test_extensions(self, tmp_path):
        folder = make_folder(tmp_path / 'x', {'a.png': flat(RED), 'b.tile': flat(RED)})
        dataset = ImageFolder(folder, extensions=['.TILE'])
        assert len(dataset) == 1 and dataset[0]['img_path'].endswith('b.tile')

    def test_follows_links_once(self, tmp_path):
        folder = make_folder(tmp_path / 'real', {'a.png': flat(RED)})
        top = tmp_path / 'top'
        top.mkdir()
        (top / 'linked').symlink_to(folder, target_is_directory=True)
        (folder / 'back').symlink_to(top, target_is_directory=True)
        assert len(ImageFolder(top)) == 1

    def test_prefixes_are_normalised(self, source):
        for prefix in ('./cat', 'cat/.', '/cat/', './/cat'):
            assert len(ImageFolder(source, prefix=prefix)) == 2
        assert len(ImageFolder(source, prefix='.')) == len(ImageFolder(source, prefix='./')) == 3

    def test_one_extension(self, source):
        assert len(ImageFolder(source, extensions='.png')) == 3
        with pytest.raises(FileNotFoundError):
            ImageFolder(source, extensions='.g')

    def test_one_source(self, tmp_path):
        with pytest.raises(ValueError, match=r"\['a', 'b'\] must be one.*type='ConcatDataset'"):
            ImageFolder(['a', 'b'])

    def test_other_images_are_counted(self, tmp_path, log):
        files = {f'{n}.heic': b'x' for n in range(3)} | {'a.png': flat(RED), 'b.CR2': b'x'}
        files |= {'c.txt': b'words', '.d.heic': b'hidden'}
        folder = make_folder(tmp_path / 'x', files)
        assert len(ImageFolder(folder)) == 1
        (message,) = log
        assert f'{folder}: 1 images are used; 1 .cr2, 3 .heic are not read' in message
        (folder / 'a.png').unlink()
        with pytest.raises(FileNotFoundError, match=r'There are 1 .cr2, 3 .heic, which are not'):
            ImageFolder(folder)
        assert len(ImageFolder(folder, extensions=['.heic'])) == 3
        assert '1 .cr2 are not read' in log[-1]

    def test_no_warning_without_other_images(self, source, log):
        ImageFolder(source)
        assert not log

    def test_endings_of_jpeg_and_avif(self, tmp_path):
        files = {'a.jfif': flat(RED, format='JPEG'), 'b.avif': flat(RED, format='AVIF')}
        dataset = ImageFolder(make_folder(tmp_path / 'x', files))
        assert [Path(dataset[index]['img_path']).name for index in range(2)] == ['a.jfif', 'b.avif']

    def test_registered(self, source):
        dataset = DATASETS.build(dict(type='mmmask.ImageFolder', source=str(source)))
        assert len(dataset) == 3


class TestClasses:
    def test_a_wrapped_source_is_no_single_class(self, tmp_path):
        files = {'photos/cat/a.png': flat(RED), 'photos/dog/b.png': flat(RED)}
        for source in (make_folder(tmp_path / 'x', files), make_zip(tmp_path / 'x.zip', files)):
            with pytest.raises(ValueError, match="single class.*'photos'.*prefix='photos'"):
                ImageFolder(source, with_label=True)
            dataset = ImageFolder(source, with_label=True, prefix='photos')
            assert dataset.metainfo['classes'] == ['cat', 'dog']
            given = ImageFolder(source, with_label=True, metainfo=dict(classes=['photos']))
            assert [given[index]['gt_label'] for index in range(2)] == [0, 0]
            assert len(ImageFolder(source)) == 2

    def test_a_deeper_prefix_is_named(self, tmp_path):
        source = make_zip(tmp_path / 'x.zip', {'photos/train/cat/a.png': flat(RED)})
        with pytest.raises(
            FileNotFoundError, match=r"prefix='train' wrong.*\['photos/train'\] deep"
        ):
            ImageFolder(source, prefix='train', with_label=True)

    @pytest.mark.parametrize('links', [('a', 'b'), ('b', 'a')])
    def test_two_classes_may_not_be_one_folder(self, tmp_path, links):
        place = make_folder(tmp_path / 'elsewhere', {'x.png': flat(RED)})
        top = make_folder(tmp_path / 'top', {'c/y.png': flat(RED)})
        for link in links:
            (top / link).symlink_to(place, target_is_directory=True)
        with pytest.raises(ValueError, match='top/b.*top/a.*are the same folder: remove one'):
            ImageFolder(top, with_label=True)
        dataset = ImageFolder(top)  # whose images count once
        assert [Path(dataset[i]['img_path']).relative_to(top) for i in range(2)] == [
            Path('a/x.png'),
            Path('c/y.png'),
        ]

    def test_a_link_to_a_class_is_not_the_class(self, tmp_path):
        top = make_folder(tmp_path / 'top', {'c/y.png': flat(RED)})
        (top / 'a').symlink_to('c', target_is_directory=True)
        with pytest.raises(ValueError, match='top/a.*top/c.*are the same folder'):
            ImageFolder(top, with_label=True)
        assert ImageFolder(top)[0]['img_path'] == f'{top}/c/y.png'

    def test_classes_may_be_links_to_a_hidden_folder(self, tmp_path):
        top = make_folder(tmp_path / 'top', {'.store/1/x.png': flat(RED), 'b/y.png': flat(RED)})
        (top / 'a').symlink_to('.store/1', target_is_directory=True)
        assert ImageFolder(top, with_label=True).metainfo['classes'] == ['a', 'b']

    def test_a_loop_is_no_second_name(self, tmp_path):
        top = make_folder(tmp_path / 'top', {'a/x.png': flat(RED), 'b/y.png': flat(RED)})
        (top / 'b' / 'loop').symlink_to(top, target_is_directory=True)
        (top / 'a' / 'loop').symlink_to(top / 'a', target_is_directory=True)
        dataset = ImageFolder(top, with_label=True)
        assert len(dataset) == 2 and dataset.metainfo['classes'] == ['a', 'b']


class TestSubset:
    FILES = {f'{c}/my {n}.png': flat(RED) for c in ('cat', 'dog') for n in range(3)}

    def names(self, folder, text: bytes | str, **kwargs):
        path = folder.parent / 'list.txt'
        path.write_bytes(os.fsencode(text))
        dataset = ImageFolder(folder, subset=str(path), **kwargs)
        return [dataset.get_data_info(index)['name'] for index in range(len(dataset))]

    def test_a_name_is_a_line(self, tmp_path):
        folder = make_folder(tmp_path / 'x', self.FILES | {'dog/only.png': flat(RED)})
        text = 'dog/my 1.png\r\n\n  cat/my 0.png \nonly.png\ncat/my 0.png\n'
        assert self.names(folder, text) == ['cat/my 0.png', 'dog/my 1.png', 'dog/only.png']

    def test_a_bare_name_may_not_be_in_two_classes(self, tmp_path):
        folder = make_folder(tmp_path / 'x', self.FILES)
        with pytest.raises(ValueError, match="'my 0.png', which may be 'cat/my 0.png' or 'dog/my"):
            self.names(folder, 'my 0.png\n')
        folder = make_folder(tmp_path / 'y', {'my.png': flat(RED), 'cat/my.png': flat(RED)})
        assert self.names(folder, 'my.png') == ['my.png']  # a whole path

    def test_names_in_any_bytes(self, tmp_path):
        name = os.fsdecode(b'\xe9t\xe9.png')
        folder = make_folder(tmp_path / 'x', {name: flat(RED), 'b.png': flat(RED)})
        assert self.names(folder, name) == [name]

    def test_missing_files_are_named(self, tmp_path):
        folder = make_folder(tmp_path / 'x', self.FILES)
        with pytest.raises(ValueError, match="2 files, of which 1 are in.*'emu.png' is not one"):
            self.names(folder, 'cat/my 0.png\nemu.png')
        with pytest.raises(FileNotFoundError, match="subset='/nowhere.txt' does not exist"):
            ImageFolder(folder, subset='/nowhere.txt')


class TestNothingToRead:
    def test_missing_path(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='nowhere.*does not exist.*folder or a .zip'):
            ImageFolder(tmp_path / 'nowhere')

    @pytest.mark.parametrize('make', [make_folder, make_zip])
    def test_no_image(self, make, tmp_path):
        path = make(tmp_path / 'notes.zip', {'a.txt': b'words'})
        with pytest.raises(FileNotFoundError, match=r'notes.zip.*\.jpg, .*\.png.*Point source'):
            ImageFolder(path)

    def test_wrong_prefix_names_what_there_is(self, source):
        with pytest.raises(FileNotFoundError, match="prefix='cats'.*'cat', 'dog'"):
            ImageFolder(source, prefix='cats')

    def test_other_file(self, tmp_path):
        (tmp_path / 'photos.tar').write_bytes(b'no zip')
        with pytest.raises(ValueError, match='photos.tar.*neither a folder nor a zip archive'):
            ImageFolder(tmp_path / 'photos.tar')


class TestUnreadable:
    @pytest.fixture
    def damaged(self, tmp_path):
        photograph = encode(skimage.data.chelsea(), format='JPEG')
        files = {f'good{i}.png': flat((i, i, i)) for i in range(1, 6)}
        files |= {'bad0.png': b'', 'bad1.jpg': photograph[:3000], 'bad2.jpg': b'words'}
        return make_folder(tmp_path / 'damaged', files)

    def test_reported_once_and_replaced(self, damaged, tmp_path, log):
        report = tmp_path / 'unreadable.txt'
        dataset = ImageFolder(damaged, report_file=str(report))
        first = [dataset[i] for i in range(8)]
        second = [dataset[i] for i in range(8)]
        for sample in first + second:
            value = int(Path(sample['img_path']).stem.removeprefix('good'))
            assert (sample['img'] == value).all()
        assert [x['img_path'] for x in first] == [x['img_path'] for x in second]

        lines = [line.split('\t') for line in report.read_text().splitlines()]
        assert [path for path, _ in lines] == [
            f'{damaged}/{n}' for n in ('bad0.png', 'bad1.jpg', 'bad2.jpg')
        ]
        assert 'empty' in lines[0][1] and 'truncated' in lines[1][1]
        messages = [message for message in log if 'Unreadable' in message]
        assert len(messages) == 3
        assert 'number 3' in messages[2] and f'{damaged}/bad2.jpg' in messages[2]

    def test_names_of_any_bytes_are_reported_in_a_line(self, tmp_path, log):
        names = [b'\xe9t\xe9.png', b'new\nline\ttab.png', '\u56fe.png'.encode()]
        files = {os.fsdecode(name): b'' for name in names} | {f'{n}.png': flat(RED) for n in '123'}
        report = tmp_path / 'unreadable.txt'
        dataset = ImageFolder(make_folder(tmp_path / 'x', files), report_file=str(report))
        assert all((dataset[index]['img'] == RED[::-1]).all() for index in range(6))
        lines = [line.split('\t') for line in report.read_text(encoding='utf-8').splitlines()]
        assert [os.path.basename(path) for path, _ in lines] == [
            'new\\nline\\ttab.png',
            '\u56fe.png',
            '\\udce9t\\udce9.png',
        ]
        assert len(log) == 3 and all(message.isprintable() for message in log)

    def test_replacement_leaves_the_random_state(self, damaged):
        dataset = ImageFolder(damaged)
        before = np.random.get_state()  # noqa: NPY002  the state that transforms draw from
        dataset[0]
        after = np.random.get_state()  # noqa: NPY002
        assert all(np.array_equal(x, y) for x, y in zip(before, after, strict=True))

    def test_replacement_carries_its_own_label(self, tmp_path):
        files = {'cat/a.png': b'', 'dog/b.png': flat((7, 7, 7)), 'dog/c.png': flat((8, 8, 8))}
        dataset = ImageFolder(make_folder(tmp_path / 'x', files), with_label=True, test_mode=True)
        assert dataset[0]['gt_label'] == 1

    def test_reports_once_over_workers_and_epochs(self, damaged, tmp_path):
        report = tmp_path / 'unreadable.txt'
        dataset = ImageFolder(damaged, report_file=str(report))
        loader = torch.utils.data.DataLoader(
            dataset, batch_size=2, num_workers=2, collate_fn=pseudo_collate
        )
        for _ in range(2):
            values = torch.as_tensor(np.stack([i for batch in loader for i in batch['img']]))
            assert values.shape == (8, 8, 6, 3) and (values > 0).all()
        assert sorted(report.read_text().splitlines()) == sorted(
            set(report.read_text().splitlines())
        )
        assert len(report.read_text().splitlines()) == 3

    def test_too_many_stop_the_run(self, damaged):
        dataset = ImageFolder(damaged, max_unreadable=0.3)
        with pytest.raises(RuntimeError, match=r'3 of 8 images.*max_unreadable=30%.*bad2.jpg'):
            [dataset[i] for i in range(8)]

    def test_large_sets_are_judged_early(self, tmp_path):
        files = {f'{i:03}.png': b'' if i < 99 else flat(RED) for i in range(400)}
        dataset = ImageFolder(make_folder(tmp_path / 'x', files))
        with pytest.raises(RuntimeError, match=r'of 1\d\d images'):
            [dataset[i] for i in range(120)]

    def test_only_damage(self, tmp_path):
        files = {f'{i}.png': b'' for i in range(4)}
        with pytest.raises(RuntimeError, match=r'3 of 4 images'):
            ImageFolder(make_folder(tmp_path / 'x', files))[0]


class TestArchive:
    def test_nothing_is_extracted(self, tmp_path):
        inside = tmp_path / 'inside'
        inside.mkdir()
        source = make_zip(inside / 'evil.zip', {'../../escaped.png': b'x', '/root.png': flat(RED)})
        before = sorted(tmp_path.rglob('*'))
        dataset = ImageFolder(source)
        assert len(dataset) == 1  # what points upward is skipped
        assert (dataset[0]['img'] == RED[::-1]).all()
        assert sorted(tmp_path.rglob('*')) == before

    def test_names_of_other_systems(self, tmp_path):
        """Backslashes, as some programs for Windows write them, and a dot in front."""
        source = make_zip(tmp_path / 'x.zip', {'./cat/a.png': flat(RED), 'dogXb.png': flat(RED)})
        source.write_bytes(source.read_bytes().replace(b'dogXb', b'dog\\b'))
        dataset = ImageFolder(source, with_label=True)
        assert dataset.metainfo['classes'] == ['cat', 'dog']
        assert [dataset[index]['img_path'] for index in range(2)] == [
            f'{source}/cat/a.png',
            f'{source}/dog/b.png',
        ]
        assert len(ImageFolder(source, prefix='dog')) == 1

    def test_capital_ending(self, tmp_path):
        dataset = ImageFolder(make_zip(tmp_path / 'X.ZIP', {'a.PNG': flat(RED)}))
        assert (dataset[0]['img'] == RED[::-1]).all()

    def test_an_archive_cut_short_and_archives_inside(self, tmp_path):
        whole = make_zip(tmp_path / 'x.zip', {f'{i}.png': flat((i, 2, 3)) for i in range(9)})
        (tmp_path / 'cut.zip').write_bytes(whole.read_bytes()[:100])
        with pytest.raises(ValueError, match=r'cut.zip.* is neither a folder nor a zip archive'):
            ImageFolder(tmp_path / 'cut.zip')
        outer = make_zip(tmp_path / 'outer.zip', {'x.zip': whole.read_bytes()})
        with pytest.raises(FileNotFoundError, match=r"no image in '.*outer.zip'"):
            ImageFolder(outer)

    def test_a_password(self, tmp_path):
        source = make_zip(tmp_path / 'x.zip', {f'{i}.png': flat((i, 2, 3)) for i in range(4)})
        content = bytearray(source.read_bytes())
        for header, flags in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
            start = -1
            while (start := content.find(header, start + 1)) >= 0:
                content[start + flags] |= 1
        source.write_bytes(content)
        with pytest.raises(RuntimeError, match='3 of 4 images .* is encrypted, password required'):
            ImageFolder(source)[0]

    def test_damaged_member(self, tmp_path):
        source = make_zip(tmp_path / 'x.zip', {f'{i}.png': flat((i, 2, 3)) for i in range(4)})
        content = bytearray(source.read_bytes())
        content[content.index(b'IDAT') + 6] ^= 0xFF
        source.write_bytes(content)
        dataset = ImageFolder(source)
        assert dataset[0]['img_path'] != f'{source}/0.png'

    @pytest.mark.parametrize('start', ['fork', 'spawn'])
    def test_workers(self, tmp_path, start):
        files = {f'{i:02}.png': flat((i, i, i)) for i in range(20)}
        dataset = ImageFolder(make_zip(tmp_path / 'x.zip', files))
        assert (dataset[5]['img'] == 5).all()  # opens a handle before the fork
        loader = torch.utils.data.DataLoader(
            dataset,
            batch_size=5,
            num_workers=2,
            collate_fn=pseudo_collate,
            multiprocessing_context=start,
        )
        values = [image[0, 0, 0] for batch in loader for image in batch['img']]
        assert values == list(range(20))

    def test_pickles(self, tmp_path):
        dataset = ImageFolder(make_zip(tmp_path / 'x.zip', {'a.png': flat((9, 9, 9))}))
        dataset[0]
        assert (pickle.loads(pickle.dumps(dataset))[0]['img'] == 9).all()
        assert (dataset.get_subset([0])[0]['img'] == 9).all()


class TestRepeats:
    @pytest.fixture
    def folder(self, tmp_path):
        for number in range(6):
            shade = np.full((40, 60, 3), 40 * number + 10, np.uint8)
            shade[:, ::2] += 5
            (tmp_path / f'{number}.png').write_bytes(encode(shade))
        return tmp_path

    @pytest.fixture
    def read(self, monkeypatch):
        names = []
        original = image_folder.read_file
        monkeypatch.setattr(
            image_folder, 'read_file', lambda *name: (names.append(name[-1]), original(*name))[1]
        )
        return names

    def samples(self, folder, first=0, **kwargs):
        pipeline = [dict(type='mmmask.RandomResizedCrop', scale=16, flip_prob=0.5)]
        dataset = SeededDataset(ImageFolder(folder, pipeline=pipeline, **kwargs))
        sampler = ResumableSampler(dataset, seed=3)
        sampler.skip(first)
        return [dataset[draw] for draw in sampler]

    def test_one_decoding_gives_different_samples(self, folder, read):
        samples = self.samples(folder, repeats=3)
        assert len(samples) == 6 and len(read) == 2
        for group in (samples[:3], samples[3:]):
            assert len({sample['img_path'] for sample in group}) == 1
            assert len({sample['img'].tobytes() for sample in group}) == 3

    @pytest.mark.parametrize('first', range(6))
    def test_samples_are_the_same_from_anywhere(self, folder, first):
        whole, rest = self.samples(folder, repeats=3), self.samples(folder, first, repeats=3)
        assert len(rest) == 6 - first
        for one, other in zip(whole[first:], rest, strict=True):
            np.testing.assert_array_equal(one['img'], other['img'])

    def test_what_a_transform_writes_stays_its_own(self, folder):
        dataset = ImageFolder(folder, repeats=2)
        first = dataset[0]['img']
        expected = first.copy()
        first[:] = 0
        np.testing.assert_array_equal(dataset[0]['img'], expected)

    def test_below_one(self, folder):
        with pytest.raises(ValueError, match='repeats=0 must be 1 or more'):
            ImageFolder(folder, repeats=0)


def test_feeds_the_training_pipeline(tmp_path):
    photograph = skimage.data.astronaut()
    folder = make_folder(tmp_path / 'x', {'space/astronaut.png': encode(photograph)})
    pipeline = [
        dict(
            type='mmpretrain.RandomResizedCrop',
            scale=32,
            crop_ratio_range=(0.2, 1.0),
            backend='pillow',
            interpolation='bicubic',
        ),
        dict(type='mmpretrain.RandomFlip', prob=0.5),
        dict(type='mmpretrain.PackInputs'),
    ]
    dataset = ImageFolder(folder, with_label=True, pipeline=pipeline)
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 32, 32) and sample['inputs'].dtype == torch.uint8
    assert sample['data_samples'].gt_label.tolist() == [0]
    assert sample['data_samples'].img_path == f'{folder}/space/astronaut.png'

    whole = ImageFolder(folder, pipeline=[dict(type='mmpretrain.PackInputs')])[0]['inputs']
    np.testing.assert_array_equal(whole.flip(0).permute(1, 2, 0), photograph)


@pytest.mark.skipif(not TINY_IMAGENET.exists(), reason='the Tiny ImageNet archive is not there')
def test_tiny_imagenet():
    dataset = ImageFolder(TINY_IMAGENET, prefix='val', with_label=True)
    assert len(dataset) == 2500 and len(dataset.metainfo['classes']) == 50
    labels = [dataset.get_data_info(i)['gt_label'] for i in range(2500)]
    assert np.bincount(labels).tolist() == [50] * 50
    assert all(dataset[i]['img'].shape == (64, 64, 3) for i in range(0, 2500, 50))
