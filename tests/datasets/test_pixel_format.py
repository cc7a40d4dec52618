"""Images with any number of channels and any range: files, data sets, statistics, transforms."""

import io

import numpy as np
import pytest
import torch
from conftest import ROOT
from mmengine.config import Config
from mmengine.dataset import Compose
from PIL import Image
from torch.nn import functional as F

from mmmask.datasets import (
    ImageFolder,
    IntensityJitter,
    MisfitError,
    PartialDuplicates,
    PixelFormat,
    RandomResizedCrop,
    config_text,
    decode_image,
    measure_images,
    resize_image,
)
from mmmask.datasets import decoding as decoding_module
from mmmask.datasets.image_folder import check_transforms

tifffile = pytest.importorskip('tifffile', reason="reads TIFFs: pip install 'mmmask[tiff]'")
RANDOM = np.random.default_rng(0)
BANDS = RANDOM.integers(0, 4096, (20, 24, 13), dtype=np.uint16)
GREY = BANDS[..., 0]


def png(array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, 'PNG')
    return buffer.getvalue()


def jpeg(array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, 'JPEG', quality=95)
    return buffer.getvalue()


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def tiff(array, **kwargs) -> bytes:
    if array.ndim == 3 and array.shape[-1] < array.shape[0]:
        kwargs['planarconfig'] = 'contig'
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, photometric='minisblack', **kwargs)
    return buffer.getvalue()


def decode(content, *args, **kwargs):
    return decode_image(content, pixel_format=PixelFormat(*args, **kwargs))


def write(folder, **contents):
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace('_', '.')).write_bytes(content)
    return folder


class TestFiles:
    @pytest.mark.parametrize(
        'content',
        [
            npy(BANDS),
            npy(BANDS.transpose(2, 0, 1)),
            tiff(BANDS),
            tiff(BANDS.transpose(2, 0, 1), planarconfig='separate', compression='zlib'),
            tiff(BANDS.transpose(2, 0, 1)),  # pages
        ],
        ids=['NPY, last', 'NPY, first', 'TIFF', 'TIFF in planes', 'TIFF in pages'],
    )
    def test_thirteen_bands(self, content):
        decoded = decode(content, 13, 'float32', (0, 4095))
        assert decoded.dtype == np.float32 and decoded.flags.c_contiguous
        np.testing.assert_allclose(decoded, BANDS * (255 / 4095), rtol=1e-6, atol=1e-5)
        rounded = decode(content, 13, 'uint8', (0, 4095))
        np.testing.assert_array_equal(rounded, np.rint(BANDS * (255 / 4095)).astype(np.uint8))

    @pytest.mark.parametrize('encode', [png, npy, tiff])
    def test_16_bit_grey_in_a_window(self, encode):
        decoded = decode(encode(GREY), 1, 'float32', (0, 4095))
        np.testing.assert_allclose(decoded[..., 0], GREY * (255 / 4095), rtol=1e-6, atol=1e-5)
        window = decode(encode(GREY), 1, 'float32', (1000, 2000), True)
        expected = (GREY.astype(float) - 1000).clip(0, 1000) * 0.255
        np.testing.assert_allclose(window[..., 0], expected, rtol=1e-5, atol=1e-3)

    def test_grey_becomes_colour_only_where_three_channels_are_stated(self):
        decoded = decode(png(GREY), 3, 'uint8', (0, 4095))
        expected = np.rint(GREY * (255 / 4095))
        np.testing.assert_array_equal(decoded, np.stack([expected] * 3, axis=-1))

    @pytest.mark.parametrize('encode', [npy, tiff])
    def test_three_channels_are_bgr(self, encode):
        decoded = decode(encode(BANDS[..., :3]), 3, 'float32', (0, 4095))
        np.testing.assert_allclose(decoded[..., ::-1], BANDS[..., :3] * (255 / 4095), atol=1e-4)

    def test_8_bit_files_of_pillow(self):
        values = RANDOM.integers(0, 256, (20, 24, 4), dtype=np.uint8)
        np.testing.assert_array_equal(decode(png(values), 4), values)
        np.testing.assert_array_equal(decode(png(values[..., 0]), 1), values[..., :1])
        smooth = np.kron(values[..., 0], np.ones((8, 8), np.uint8))
        by_pillow = np.asarray(Image.open(io.BytesIO(jpeg(smooth))))
        np.testing.assert_array_equal(decode(jpeg(smooth), 1)[..., 0], by_pillow)
        assert decode_image(jpeg(smooth), 40, PixelFormat(1)).shape == (40, 48, 1)

    def test_floats_and_signed_integers(self):
        floats = RANDOM.normal(size=(10, 12)).clip(-4, 4)
        decoded = decode(npy(floats), 1, 'float32', (-4, 4))
        np.testing.assert_allclose(decoded[..., 0], (floats + 4) * (255 / 8), rtol=1e-5)
        hounsfield = RANDOM.integers(-1024, 3072, (10, 12), dtype=np.int16)
        decoded = decode(tiff(hounsfield), 1, 'float32', (-1024, 3071))
        expected = (hounsfield + 1024.0) * (255 / 4095)
        np.testing.assert_allclose(decoded[..., 0], expected, rtol=1e-5, atol=1e-4)

    def test_a_range_for_each_channel(self):
        """Colours and a depth in millimetres."""
        values = np.stack([*[RANDOM.integers(0, 256, (8, 8))] * 3, np.full((8, 8), 4000)], axis=-1)
        ranges = [(0, 255)] * 3 + [(0, 8000)]
        decoded = decode(npy(values.astype(np.uint16)), 4, 'float32', ranges)
        np.testing.assert_allclose(decoded[..., :3], values[..., :3], atol=1e-4)
        np.testing.assert_allclose(decoded[..., 3], 127.5)
        ranges = [(0, 1), (0, 2), (0, 4)]  # of red, green and blue, while a sample is BGR
        decoded = decode(npy(np.ones((2, 2, 3))), 3, 'float32', ranges)
        np.testing.assert_allclose(decoded[0, 0], [63.75, 127.5, 255])

    def test_nan_is_clipped_or_refused(self):
        values = np.array([[0.0, np.nan], [np.inf, 1.0]])
        assert decode(npy(values), 1, 'float32', (0, 2), True).ravel().tolist() == [
            0,
            0,
            255,
            127.5,
        ]
        with pytest.raises(MisfitError, match='values from nan to nan'):
            decode(npy(values), 1, 'float32', (0, 2))

    def test_a_tiff_is_turned_upright(self):
        content = tiff(GREY, extratags=[(274, 'H', 1, 6, True)])
        decoded = decode(content, 1, 'float32', (0, 4095))
        expected = np.rot90(GREY, -1) * (255 / 4095)
        np.testing.assert_allclose(decoded[..., 0], expected, rtol=1e-5, atol=1e-4)


class TestMisfits:
    @pytest.mark.parametrize(
        ('content', 'options', 'message'),
        [
            (npy(BANDS[..., :5]), (3,), 'has 5 channels, but channels=3: state channels=5'),
            (tiff(BANDS), (4, 'float32'), 'has 13 channels, but channels=4'),
            (png(np.zeros((4, 4, 3), np.uint8)), (1,), 'has 3 channels, but channels=1'),
            (png(np.zeros((4, 4, 4), np.uint8)), (5,), 'has 4 channels, but channels=5'),
            (png(GREY), (4,), 'has 1 channel, but channels=4'),
            (png(GREY), (1,), 'holds uint16, and the range of the images is not stated'),
            (npy(GREY / 2), (1, 'float32'), 'holds float64, and the range of the images is not'),
            (png(GREY), (1, 'uint8', (0, 255)), r'not all in value_range=\(0, 255\): widen it, or'),
            (
                png((GREY >> 4).astype(np.uint8)),
                (1, 'uint8', (0, 4095)),
                r'8-bit values, which cannot reach value_range=\(0, 4095\)',
            ),
        ],
    )
    def test_one_sentence_names_it(self, content, options, message):
        with pytest.raises(MisfitError, match=message):
            decode(content, *options)

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (dict(channels=0), 'channels=0 must be 1 or more'),
            (dict(dtype='uint16'), "dtype='uint16' is not one of"),
            (dict(clip=True), 'clip=True needs value_range'),
            (dict(value_range=(9, 9)), r'value_range=\(9, 9\) must be a pair'),
            (dict(channels=4, value_range=[(0, 1)] * 3), 'one such pair for each of 4 channels'),
        ],
    )
    def test_statements_without_sense(self, tmp_path, options, message):
        write(tmp_path, a_png=png(GREY))
        with pytest.raises(ValueError, match=message):
            ImageFolder(tmp_path, **options)

    def test_it_stops_the_run_and_names_the_file(self, tmp_path):
        dark, bright = np.full((8, 8), 900, np.uint16), np.full((8, 8), 1100, np.uint16)
        write(tmp_path, a_png=png(dark), b_png=png(bright), c_png=b'damaged')
        dataset = ImageFolder(tmp_path, channels=1, value_range=(0, 1000))
        assert dataset[0]['img'].max() == 230
        with pytest.raises(MisfitError, match=f'{tmp_path}/b.png: the file has values from 1100'):
            dataset[1]
        assert dataset[2]['img'].shape == (8, 8, 1)  # another takes its place

    def test_a_cache_is_not_made_of_it(self, tmp_path, monkeypatch):
        monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
        folder = write(tmp_path / 'images', a_png=png(GREY))
        with pytest.raises(MisfitError, match=r'a.png: the file has values'):
            ImageFolder(folder, channels=1, value_range=(0, 1000), cache_side=8)

    def test_one_odd_file_among_photographs_is_skipped(self, tmp_path):
        """Where nothing is stated, and others are readable."""
        photograph = png(np.full((8, 8, 3), 77, np.uint8))
        report = tmp_path / 'report.txt'
        folder = write(tmp_path / 'images', a_png=photograph, b_tif=tiff(BANDS), c_png=photograph)
        dataset = ImageFolder(folder, report_file=str(report))
        assert [dataset[index]['img'].max() for index in range(3)] == [77] * 3
        assert 'the file has 13 channels, but channels=3' in report.read_text()
        with pytest.raises(MisfitError, match=r'b.tif: the file has 13 channels, but channels=3'):
            ImageFolder(folder)[1]

    def test_tifffile_is_named_where_it_is_needed(self, monkeypatch):
        monkeypatch.setitem(__import__('sys').modules, 'tifffile', None)
        with pytest.raises(MisfitError, match=r"only tifffile reads: pip install 'mmmask\[tiff\]'"):
            decode(tiff(BANDS), 13, 'float32', (0, 4095))

    def test_arrays_are_images_only_where_they_are_stated(self, tmp_path):
        write(tmp_path, a_npy=npy(BANDS))
        with pytest.raises(FileNotFoundError, match='1 .npy: state channels and value_range'):
            ImageFolder(tmp_path)
        assert ImageFolder(tmp_path, channels=13, value_range=(0, 4095))[0]['img'].shape[2] == 13

    def test_bombs(self, monkeypatch):
        monkeypatch.setattr(decoding_module, 'MAX_PIXELS', 100)
        with pytest.raises(ValueError, match='24 x 20 pixels, more than 100'):
            decode(tiff(BANDS), 13, 'float32', (0, 4095))


class TestRange:
    """16-bit files are scaled alike, by the range that the data set states, or not read."""

    Y = np.arange(4096).reshape(64, 64) % 256

    def test_all_files_are_scaled_alike(self, tmp_path):
        for name, factor in dict(b=1, c=16, d=257).items():
            write(tmp_path, **{f'{name}_png': png((self.Y * factor).astype(np.uint16))})
        with pytest.raises(
            MisfitError, match=r'b.png: the file holds uint16, and the range.*image_statistics'
        ):
            ImageFolder(tmp_path)[0]
        dataset = ImageFolder(
            tmp_path, value_range=measure_images(tmp_path).pixel_format.value_range
        )
        assert [dataset[index]['img'].max() for index in range(3)] == [1, 16, 255]
        dataset = ImageFolder(tmp_path, value_range=(0, 4080), clip=True)
        assert [dataset[index]['img'].max() for index in range(3)] == [16, 255, 255]

    def test_a_few_among_photographs_are_listed_with_the_remedy(self, tmp_path):
        photograph, report = png(np.full((8, 8, 3), 77, np.uint8)), tmp_path / 'report.txt'
        write(tmp_path / 'images', a_png=photograph, b_png=png(GREY), c_png=photograph)
        dataset = ImageFolder(tmp_path / 'images', report_file=str(report))
        assert [dataset[index]['img'].max() for index in range(3)] == [77] * 3
        (line,) = report.read_text().splitlines()
        assert line.startswith(f'{tmp_path}/images/b.png\tValueError: the file holds uint16')
        assert line.endswith('or convert the file to 8 bits')


def test_cache_of_floats(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    folder = write(tmp_path / 'images', a_npy=npy(BANDS), b_npy=b'damaged', c_npy=npy(BANDS + 1))
    options = dict(channels=13, dtype='float32', value_range=(0, 4096))
    plain, cached = ImageFolder(folder, **options), ImageFolder(folder, cache_side=64, **options)
    for index in (0, 2):
        np.testing.assert_array_equal(cached[index]['img'], plain[index]['img'])
    assert 'damaged' not in cached[1]['img_path'] and cached[1]['img'].dtype == np.float32
    small = ImageFolder(folder, cache_side=5, **options)[0]['img']
    tensor = torch.from_numpy(plain[0]['img']).permute(2, 0, 1)[None]
    expected = F.interpolate(tensor, size=(5, 6), mode='bicubic', antialias=True)[0].clamp(0, 255)
    np.testing.assert_allclose(small, expected.permute(1, 2, 0).numpy(), rtol=1e-5)


class TestTransforms:
    @pytest.mark.parametrize(
        ('transform', 'name'),
        [
            (dict(type='mmpretrain.ColorJitter', brightness=0.4), 'ColorJitter'),
            (dict(type='RandomGrayscale', prob=0.2), 'RandomGrayscale'),
            (dict(type='mmpretrain.GaussianBlur', magnitude_range=(0.1, 2)), 'GaussianBlur'),
            (dict(type='mmpretrain.ResizeEdge', scale=8, backend='pillow'), 'ResizeEdge'),
            (dict(type='mmmask.ContrastiveCrop', scale=8, backend='pillow'), 'ContrastiveCrop'),
            (dict(type='mmpretrain.ResizeEdge', scale=8, interpolation='area'), 'ResizeEdge'),
        ],
    )
    def test_those_for_8_bit_colours_are_refused_wherever_they_are(self, tmp_path, transform, name):
        random = dict(type='RandomApply', transforms=[transform], prob=0.5)
        views = dict(type='mmpretrain.MultiView', num_views=[1, 1], transforms=[[], [random]])
        for pipeline in ([transform], [random], [views]):
            with pytest.raises(ValueError, match=f'^{name} .* does not take the images'):
                check_transforms(Compose(pipeline).transforms, 13)
        write(tmp_path, a_npy=npy(BANDS), b_png=png(GREY))
        if name != 'ResizeEdge':
            with pytest.raises(ValueError, match='channels=3 and dtype describe'):
                ImageFolder(tmp_path, dtype='float32', pipeline=[transform])
        ImageFolder(tmp_path, value_range=(0, 4095), pipeline=[transform])

    @pytest.mark.parametrize('channels', [1, 2, 4, 13])
    @pytest.mark.parametrize('dtype', ['uint8', 'float32'])
    def test_others_take_any_number(self, tmp_path, channels, dtype):
        write(tmp_path, a_npy=npy(np.kron(BANDS[..., :channels], np.ones((4, 4, 1)))))
        pipelines = [
            [dict(type='mmmask.RandomResizedCrop', scale=16, flip_prob=0.5)],
            [
                dict(type='mmpretrain.RandomResizedCrop', scale=16),
                dict(type='mmpretrain.RandomFlip', prob=1.0),
            ],
            [
                dict(type='mmmask.ResizeEdge', scale=20),
                dict(type='mmpretrain.CenterCrop', crop_size=16),
            ],
            [dict(type='mmmask.ContrastiveCrop', scale=16, box=(0, 0, 1, 1))],
            [dict(type='mmmask.Resize', scale=(16, 16))],
            [dict(type='mmmask.ShiftedCrop', size=16), dict(type='mmmask.IntensityJitter')],
        ]
        options = dict(channels=channels, dtype=dtype, value_range=(0, 4095))
        sample = ImageFolder(tmp_path, **options)[0]
        for pipeline in pipelines:
            pipeline = Compose([*pipeline, dict(type='mmpretrain.PackInputs')])
            check_transforms(pipeline.transforms, channels)
            inputs = pipeline(dict(sample))['inputs']
            assert inputs.shape == (channels, 16, 16)
            assert inputs.dtype == getattr(torch, dtype) and 0 <= inputs.min() < inputs.max() <= 255

    def test_a_flip_reverses_columns_of_every_channel(self):
        crop = RandomResizedCrop((20, 24), (1.0, 1.0), aspect_ratio_range=(1.2, 1.2), flip_prob=1.0)
        image = (BANDS / 17).astype(np.float32)
        flipped = crop(dict(img=image))['img']
        np.testing.assert_allclose(flipped, image[:, ::-1], rtol=1e-5)

    def test_floats_stay_in_range(self):
        edge = np.zeros((16, 16, 5), np.float32)
        edge[:, 8:] = 255
        resized = resize_image(edge, (23, 23))
        assert resized.min() == 0 and resized.max() == 255

    def test_intensity_jitter(self):
        jitter = IntensityJitter(0.4, 0.4)
        jitter.sample_factors = lambda: np.array([1.2, 0.5])
        image = np.array([[[10.0, 100.0], [30.0, 200.0]]], np.float32)  # means 20 and 150
        result = jitter(dict(img=image))['img']
        np.testing.assert_allclose(result, [[[18, 150], [30, 210]]])
        result = jitter(dict(img=image.astype(np.uint8)))['img']
        assert result.dtype == np.uint8 and result.tolist() == [[[18, 150], [30, 210]]]
        jitter = IntensityJitter(0.4, 0.2)
        factors = np.array([jitter.sample_factors() for _ in range(2000)])
        assert factors.min(0) == pytest.approx([0.6, 0.8], abs=0.01)
        assert factors.max(0) == pytest.approx([1.4, 1.2], abs=0.01)
        with pytest.raises(ValueError, match='contrast=2 must be in 0 to 1'):
            IntensityJitter(contrast=2)

    def test_altered_copies_are_colour_photographs(self, tmp_path):
        write(tmp_path, a_npy=npy(BANDS), b_npy=npy(BANDS))
        with pytest.raises(ValueError, match='8-bit colour images: leave out channels'):
            PartialDuplicates(tmp_path, 'queries', 1, channels=13, value_range=(0, 4095))


class TestStatistics:
    def test_of_bands(self, tmp_path):
        images = RANDOM.integers(0, 9000, (6, 16, 18, 13), dtype=np.uint16)
        write(tmp_path, **{f'{n}_npy': npy(image) for n, image in enumerate(images)}, z_npy=b'text')
        found = measure_images(tmp_path, value_range=(0, 10000))
        assert found.pixel_format == PixelFormat(13, 'float32', (0, 10000))
        assert (found.num_read, found.num_images, [*found.unreadable]) == (6, 7, ['z.npy'])
        scaled = images * 0.0255
        np.testing.assert_allclose(found.mean, scaled.mean(axis=(0, 1, 2)), atol=1e-3)
        np.testing.assert_allclose(found.std, scaled.std(axis=(0, 1, 2)), atol=1e-3)
        np.testing.assert_array_equal(found.values[:, 1], images.max(axis=(0, 1, 2)))
        assert '6 of 7 images were read; 1 could not be read.' in found.describe()

    @pytest.mark.parametrize(
        ('values', 'dtype', 'value_range'),
        [
            (GREY, 'float32', (0, 4095)),
            (GREY // 16, 'float32', (0, 255)),
            (GREY * 16, 'float32', (0, 65535)),
            ((GREY // 16).astype(np.uint8), 'uint8', None),
            (GREY.astype(np.int16) - 1024, 'float32', (-1024, int(GREY.max()) - 1024)),
            (np.float32([[-0.5, 2.0]]), 'float32', (-0.5, 2.0)),
        ],
    )
    def test_range_is_that_of_the_values(self, tmp_path, values, dtype, value_range):
        values = values.copy()
        values.flat[0] = (
            values.min() if value_range is None or value_range[0] == 0 else values[0, 0]
        )
        if value_range and value_range[0] == -1024:
            values.flat[0] = -1024
        write(tmp_path, a_npy=npy(values))
        assert measure_images(tmp_path).pixel_format[1:3] == (dtype, value_range)

    def test_of_colours(self, tmp_path):
        write(tmp_path, a_png=png(np.broadcast_to(np.uint8([10, 20, 30]), (4, 4, 3))))
        found = measure_images(tmp_path)
        assert found.mean == [10, 20, 30] and found.std == [0, 0, 0]  # red comes first
        assert found.pixel_format.is_plain
        assert found.values.tolist() == [[10, 10], [20, 20], [30, 30]]

    def test_a_sample_is_the_same_one_each_time(self, tmp_path):
        write(tmp_path, **{f'{n}_npy': npy(np.full((2, 2), n)) for n in range(30)})
        first, second = (measure_images(tmp_path, num_images=5) for _ in range(2))
        assert first.num_read == 5 and str(first) == str(second)

    def test_files_that_differ(self, tmp_path):
        write(tmp_path, a_png=png(GREY), b_npy=npy(BANDS), c_npy=npy(BANDS))
        with pytest.raises(ValueError, match=r'channels: 2 have 13 \(such as b.npy\), 1 have 1'):
            measure_images(tmp_path)
        (tmp_path / 'a.png').write_bytes(npy(BANDS.astype(np.uint8)))
        with pytest.raises(ValueError, match=r'type: 2 have uint16 .*, 1 have uint8 \(such as a.p'):
            measure_images(tmp_path)

    def test_values_outside_of_the_given_range(self, tmp_path):
        write(tmp_path, a_npy=npy(BANDS))
        with pytest.raises(MisfitError, match=r'a.npy: the file has values from'):
            measure_images(tmp_path, value_range=(0, 1000))
        clipped = measure_images(tmp_path, value_range=(0, 1000), clip=True)
        expected = BANDS.clip(0, 1000) * 0.255
        np.testing.assert_allclose(clipped.mean, expected.mean(axis=(0, 1)), atol=1e-3)

    def test_config(self, tmp_path):
        folder = write(tmp_path / 'images', a_npy=npy(BANDS))
        statistics = measure_images(folder, value_range=(0, 5000))
        base = ROOT / 'configs/downstream/channels/vit-small-p16_finetune.py'
        (tmp_path / 'own.py').write_text(config_text(statistics, base, tmp_path / 'own.py'))
        cfg = Config.fromfile(tmp_path / 'own.py')
        assert cfg.model.backbone.in_channels == 13 and cfg.model.backbone.arch == 'deit-small'
        assert cfg.model.data_preprocessor.mean == statistics.mean
        assert cfg.model.data_preprocessor.to_rgb is False
        for loader in (cfg.train_dataloader, cfg.val_dataloader):
            assert loader.dataset.source == str(folder) and loader.dataset.with_label
            stated = PixelFormat(*(loader.dataset.get(key) for key in PixelFormat._fields[:3]))
            assert stated == PixelFormat(13, 'float32', (0, 5000))
        assert cfg.train_dataloader.dataset.prefix == 'train'
        colours = statistics._replace(pixel_format=PixelFormat())
        (tmp_path / 'rgb.py').write_text(config_text(colours, base, tmp_path / 'rgb.py'))
        cfg = Config.fromfile(tmp_path / 'rgb.py')  # whose base states greyscale
        assert cfg.model.data_preprocessor.to_rgb and cfg.model.backbone.in_channels == 3
        assert PixelFormat(*(cfg.val_dataloader.dataset[k] for k in PixelFormat._fields)).is_plain
        base = ROOT / 'configs/downstream/channels/vit-small-p16_knn.py'
        (tmp_path / 'knn.py').write_text(config_text(statistics, base, tmp_path / 'knn.py'))
        cfg = Config.fromfile(tmp_path / 'knn.py')
        assert 'train_dataloader' not in cfg
        for dataset in (cfg.test_dataloader.dataset, cfg.test_cfg.bank):
            assert dataset.source == str(folder) and dataset.channels == 13
