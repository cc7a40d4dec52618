import io
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

from mmmask.datasets import ImageFolder, decode_image
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
    """Two classes in nested folders, one image at another depth, and things that are no image."""
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
    """What mmengine's current logger is told."""
    messages = []
    logger = MMLogger.get_instance('image-folder-test')
    monkeypatch.setattr(logger, 'log', lambda level, message, *args: messages.append(message))
    return messages


class TestDecodeImage:
    def test_color_comes_as_bgr(self):
        image = decode_image(flat(RED))
        assert image.dtype == np.uint8 and image.shape == (8, 6, 3)
        assert (image == RED[::-1]).all()

    def test_equals_a_photograph(self):
        photograph = skimage.data.coffee()
        np.testing.assert_array_equal(decode_image(encode(photograph))[..., ::-1], photograph)

    @pytest.mark.parametrize('options', [{}, {'transparency': 0}], ids=['opaque', 'transparent'])
    def test_palette(self, options):
        buffer = io.BytesIO()
        image = Image.new('P', (6, 8), 1)
        image.putpalette([0, 0, 0, *RED])
        image.save(buffer, 'PNG', **options)
        assert (decode_image(buffer.getvalue()) == RED[::-1]).all()

    def test_alpha_is_dropped(self):
        assert (decode_image(flat((*RED, 0))) == RED[::-1]).all()

    def test_greyscale_repeats(self):
        grey = np.arange(48, dtype=np.uint8).reshape(8, 6)
        np.testing.assert_array_equal(decode_image(encode(grey)), np.stack([grey] * 3, axis=-1))

    def test_16_bit_greyscale_is_scaled_not_clipped(self):
        grey = (np.arange(48, dtype=np.uint16) * 1000).reshape(8, 6)
        buffer = io.BytesIO()
        Image.fromarray(grey).save(buffer, 'PNG')
        np.testing.assert_array_equal(decode_image(buffer.getvalue())[..., 1], grey >> 8)

    def test_cmyk_jpeg(self):
        image = decode_image(flat(RED, mode='CMYK', format='JPEG', quality=95))
        assert np.abs(image.astype(int) - RED[::-1]).max() <= 4

    @pytest.mark.parametrize(('orientation', 'quarter_turns'), [(3, 2), (6, 1), (8, 3)])
    def test_upright_by_exif(self, orientation, quarter_turns):
        upright = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = encode(np.rot90(upright, quarter_turns), exif=exif)
        np.testing.assert_array_equal(decode_image(content)[..., ::-1], upright)

    def test_large_jpegs_are_decoded_small(self):
        """512 px are halved as long as both sides keep 200 px."""
        photograph = skimage.data.astronaut()
        small = decode_image(encode(photograph, format='JPEG', quality=95), least_side=200)
        means = photograph.reshape(256, 2, 256, 2, 3).mean(axis=(1, 3))
        assert np.abs(small[..., ::-1] - means).mean() < 2
        assert decode_image(encode(photograph), least_side=200).shape == photograph.shape

    @pytest.mark.parametrize(
        'content',
        [
            b'',
            b'not an image',
            encode(skimage.data.coffee(), format='JPEG')[:5000],
            flat(RED)[:-30],
        ],
        ids=['empty', 'text', 'truncated JPEG', 'truncated PNG'],
    )
    def test_damage_raises(self, content):
        with pytest.raises((OSError, SyntaxError, ValueError)):
            decode_image(content)


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
        with pytest.raises(ValueError, match="'a.png' lies in none.*with_label=False"):
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

    def test_registered(self, source):
        dataset = DATASETS.build(dict(type='mmmask.ImageFolder', source=str(source)))
        assert len(dataset) == 3


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
        assert len(dataset) == 1  # what points upward is passed over
        assert (dataset[0]['img'] == RED[::-1]).all()
        assert sorted(tmp_path.rglob('*')) == before

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
        assert (dataset[5]['img'] == 5).all()  # the parent's handle is open before the fork
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
