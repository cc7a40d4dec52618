"""The pixels of image files of all kinds, beside Pillow."""

import io
import struct
import zlib

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageOps, PngImagePlugin

from mmmask.datasets import MisfitError, PixelFormat, decode_image

RED = (250, 20, 30)
PHOTOGRAPH = Image.fromarray(skimage.data.chelsea())  # 451 x 300


def encode(image, mode=None, format='PNG', **options) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, format, **options)
    return buffer.getvalue()


def flat(color, size=(8, 6), **kwargs) -> bytes:
    return encode(np.broadcast_to(np.array(color, dtype=np.uint8), (*size, len(color))), **kwargs)


def by_pillow(content: bytes) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    return np.asarray(image.convert('RGB'))[..., ::-1]


def deep_png(values: np.ndarray) -> bytes:
    """(H, W, 3) uint16 -> a PNG of 16-bit colours, which Pillow cannot write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack('>I', len(data)) + body + struct.pack('>I', zlib.crc32(body))

    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in values)
    header = struct.pack('>IIBBBBB', values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    chunks = chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + chunks


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


class TestJpeg:
    """simplejpeg gives what Pillow gives, to the last bit."""

    @pytest.mark.parametrize('progressive', [False, True])
    @pytest.mark.parametrize('subsampling', [0, 1, 2])
    def test_equals_pillow(self, subsampling, progressive):
        options = dict(quality=92, subsampling=subsampling, progressive=progressive)
        content = encode(PHOTOGRAPH, format='JPEG', **options)
        np.testing.assert_array_equal(decode_image(content), by_pillow(content))

    @pytest.mark.parametrize('options', [dict(mode='L'), dict(mode='CMYK'), dict(keep_rgb=True)])
    def test_other_colours_equal_pillow(self, options):
        content = encode(PHOTOGRAPH, format='JPEG', **options)
        np.testing.assert_array_equal(decode_image(content), by_pillow(content))

    @pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
    @pytest.mark.parametrize(('least_side', 'fraction'), [(151, 1), (150, 2), (75, 4), (9, 8)])
    def test_fractions_equal_pillow(self, mode, least_side, fraction):
        content = encode(PHOTOGRAPH, format='JPEG', mode=mode)
        image = Image.open(io.BytesIO(content))
        image.draft(None, (451 // fraction, 300 // fraction))
        expected = np.asarray(image.convert('RGB'))[..., ::-1]
        assert expected.shape == (-(-300 // fraction), -(-451 // fraction), 3)
        np.testing.assert_array_equal(decode_image(content, least_side), expected)

    @pytest.mark.parametrize('orientation', range(10))
    def test_upright(self, orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = encode(PHOTOGRAPH, format='JPEG', exif=exif)
        decoded = decode_image(content)
        np.testing.assert_array_equal(decoded, by_pillow(content))
        assert decoded.flags.c_contiguous
        half = decode_image(content, least_side=150)
        assert half.shape[:2] == ((226, 150) if 5 <= orientation <= 8 else (150, 226))

    @pytest.mark.parametrize(
        'options',
        [dict(), dict(mode='L'), dict(progressive=True), dict(icc_profile=b'x' * 100_000),
         dict(comment=b'words', restart_marker_rows=2, dpi=(300, 300))],
        ids=str,
    )  # fmt: skip
    def test_pillow_reads_no_header_of_ordinary_files(self, options, monkeypatch):
        content = encode(PHOTOGRAPH, format='JPEG', **options)
        expected = by_pillow(content)
        monkeypatch.setattr(Image, 'open', None)
        np.testing.assert_array_equal(decode_image(content), expected)

    def test_pillow_reads_what_may_turn_a_file(self):
        turned = b'<rdf:Description tiff:Orientation="6"/>'
        xmp = encode(PHOTOGRAPH, format='JPEG', xmp=turned)
        assert decode_image(xmp).shape == by_pillow(xmp).shape == (451, 300, 3)
        exif = Image.Exif()
        exif[0x0112] = 6
        content = encode(PHOTOGRAPH, format='JPEG', exif=exif)
        start = content.index(b'\xff\xe1')
        end = start + 2 + int.from_bytes(content[start + 2 : start + 4], 'big')
        rest, segment = content[:start] + content[end:], content[start:end]
        pixels = rest.index(b'\xff\xda')
        late = rest[:pixels] + segment + rest[pixels:]  # behind the size
        np.testing.assert_array_equal(decode_image(late), by_pillow(late))
        assert decode_image(late).shape == (451, 300, 3)

    def test_pillow_decides_about_doubtful_files(self):
        content = encode(PHOTOGRAPH, format='JPEG')
        for missing in (2, 100, 10_000):
            with pytest.raises(OSError, match='truncated'):
                by_pillow(content[:-missing])
            with pytest.raises(OSError, match='truncated'):
                decode_image(content[:-missing])
        middle = len(content) // 2
        damaged = content[:middle] + bytes(50) + content[middle + 50 :]
        np.testing.assert_array_equal(decode_image(damaged), by_pillow(damaged))
        longer = content + b'x' * 1000
        np.testing.assert_array_equal(decode_image(longer), by_pillow(longer))


class TestDepth:
    """The range of a 16-bit file is that of its data set, not that of its type or of the file."""

    GREY = np.arange(4096).reshape(64, 64) % 256

    @pytest.mark.parametrize('bits', [8, 12, 16])
    @pytest.mark.parametrize('colours', [False, True], ids=['grey', 'colours'])
    def test_files_are_scaled_alike_or_refused(self, bits, colours):
        values = (self.GREY * (2**bits - 1) // 255).astype(np.uint16)
        if colours:
            values = np.stack([values, values.T, values // 2], axis=-1)
        content = deep_png(values) if colours else encode(values)
        with pytest.raises(MisfitError, match='holds uint16, and the range of the images is not'):
            decode_image(content)
        decoded = decode_image(content, pixel_format=PixelFormat(value_range=(0, 65535)))
        expected = np.rint(np.atleast_3d(values) * (255 / 65535))[..., ::-1]
        np.testing.assert_array_equal(decoded, np.broadcast_to(expected, decoded.shape))

    @pytest.mark.parametrize(
        'image',
        [
            Image.fromarray(np.full((6, 8), 200_000, np.int32)),
            Image.fromarray(np.full((6, 8), 0.5, np.float32)),
            Image.frombytes('I;16B', (8, 6), b'\x4d\x05' * 48),
        ],
        ids=['32 bits', 'fractions', 'big-endian'],
    )
    def test_tiffs(self, image):
        content = encode(image, format='TIFF')
        with pytest.raises(MisfitError, match='the range of the images is not stated: measure it'):
            decode_image(content)
        high = 2 * float(np.asarray(image).max())
        assert (decode_image(content, pixel_format=PixelFormat(value_range=(0, high))) == 128).all()

    def test_a_stated_range_holds(self):
        dark, ten_bits = encode(self.GREY.astype(np.uint16)), PixelFormat(value_range=(0, 1023))
        expected = np.rint(self.GREY * (255 / 1023))
        np.testing.assert_array_equal(decode_image(dark, pixel_format=ten_bits)[..., 0], expected)
        with pytest.raises(MisfitError, match=r'values from 0 to 255, .* value_range=\(0, 127\)'):
            decode_image(dark, pixel_format=PixelFormat(value_range=(0, 127)))


@pytest.mark.parametrize('name', ['XML:com.adobe.xmp', 'comment'])
@pytest.mark.parametrize('before', [True, False])
def test_a_png_may_hold_much_text(name, before):
    info = PngImagePlugin.PngInfo()
    info.add_text(name, 'x' * 2_000_000, zip=True)
    content = encode(PHOTOGRAPH, pnginfo=info)
    if not before:  # the text comes after the pixels
        start = content.index(b'zTXt') - 4
        end = start + 12 + int.from_bytes(content[start : start + 4], 'big')
        content = content[:start] + content[end:-12] + content[start:end] + content[-12:]
    with pytest.raises(ValueError, match='too large'):
        by_pillow(content)
    np.testing.assert_array_equal(decode_image(content)[..., ::-1], PHOTOGRAPH)


def test_a_png_may_hold_a_large_colour_profile():
    content = encode(PHOTOGRAPH, icc_profile=bytes(3_000_000))
    np.testing.assert_array_equal(decode_image(content)[..., ::-1], PHOTOGRAPH)
    with pytest.raises((OSError, SyntaxError, ValueError)):
        decode_image(content[:-100])


@pytest.mark.parametrize('format', ['AVIF', 'WEBP'])
def test_lossless_formats_of_the_web(format):
    grey = Image.new('RGB', (16, 8), (90, 90, 90))
    assert np.abs(decode_image(encode(grey, format=format)).astype(int) - 90).max() <= 2
