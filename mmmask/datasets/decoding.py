"""From the bytes of an image file to an array."""

import io
import struct

import cv2
import numpy as np
import simplejpeg
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from .pixel_format import PLAIN, MisfitError, PixelFormat

# The size from which Pillow warns of a decompression bomb. The largest photograph of ImageNet has
# 15 million pixels.
MAX_PIXELS = 89_478_485
JPEG_SIGNATURE = b'\xff\xd8'
JPEG_FRAMES = b'\xc0', b'\xc1', b'\xc2'  # baseline, extended and progressive
# Quantization, Huffman tables, restart interval, comment, JFIF, colour profile, Photoshop, Adobe.
JPEG_SEGMENTS = b'\xdb', b'\xc4', b'\xdd', b'\xfe', b'\xe0', b'\xe2', b'\xed', b'\xee'
INSTALL_TIFF = "pip install 'mmmask[tiff]'"
NPY_SIGNATURE = b'\x93NUMPY'
TIFF_SIGNATURES = b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'
MODES = {1: 'L', 2: 'LA', 4: 'RGBA'}  # of Pillow, by the number of channels
PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
PNG_TEXTS = b'tEXt', b'zTXt', b'iTXt', b'iCCP'  # metadata whose size Pillow limits
UPRIGHT = {  # EXIF orientation -> how the pixels become upright
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}


def decode_image(
    content: bytes,
    least_side: int | None = None,
    pixel_format: PixelFormat = PLAIN,
) -> np.ndarray:
    """Bytes of an image file -> (H, W, C) from 0 to 255, three channels as **BGR** as in mmcv.

    The content determines the format, not the name. The image is turned upright by its EXIF
    tag, and of an animation the first frame is taken. Without a stated format the result is (H, W,
    3) uint8: greyscale, palette and CMYK images become colour images, and an alpha channel is
    dropped. Values of more than 8 bits need a stated range.

    Pillow reads the header and decodes. The pixels of an intact JPEG come from simplejpeg, which is
    faster, gives the same values, and refuses every JPEG that libjpeg warns about; Pillow then
    decodes or refuses that file. OpenCV does not decode 8-bit files, because it fills what a
    truncated file lacks with grey without reporting it. tifffile decodes TIFFs of a stated format.

    Args:
        content: the file.
        least_side: a JPEG is decoded at a half, a quarter or an eighth of its size, which is
            faster, as long as both sides keep this many pixels.
        pixel_format: channels, range and type of the pixels.

    Raises:
        MisfitError: if the image has other channels or values than the format states, or values
            of more than 8 bits whose range it does not state.
        OSError, SyntaxError, ValueError: if the bytes are not one whole image, or the image has
            more than ``MAX_PIXELS``.
    """
    if not content:
        raise ValueError('the file is empty')
    values, orientation = read_values(
        content, least_side, pixel_format.channels, pixel_format.is_plain
    )
    if orientation in UPRIGHT:
        values = UPRIGHT[orientation](values)
    return np.ascontiguousarray(pixel_format.scale(values))


def read_values(
    content: bytes,
    least_side: int | None = None,
    channels: int | None = None,
    as_colours: bool = False,
) -> tuple[np.ndarray, int]:
    """Bytes of an image file -> its (H, W, C) values as they are, and its EXIF orientation.

    Args:
        content, least_side: as in :func:`decode_image`.
        channels: number of channels. Three are BGR, others are in the order of the file. None
            takes what the file has.
        as_colours: read TIFFs by Pillow, which also turns some without colours into colours.

    Raises:
        MisfitError: if the file has another number of channels.
        OSError, SyntaxError, ValueError: as :func:`decode_image`.
    """
    if content.startswith(NPY_SIGNATURE):
        return _arrange(np.load(io.BytesIO(content), allow_pickle=False), channels), 1
    is_tiff = content.startswith(TIFF_SIGNATURES)
    if is_tiff and not as_colours:
        return _read_tiff(content, channels)
    if content.startswith(JPEG_SIGNATURE) and channels and (size := _jpeg_header(content)):
        _check_size(*size[:2])
        pixels = _read_jpeg(content, *size, least_side, channels)
        if pixels is not None:
            return pixels, 1
    try:
        return _read_image(content, least_side, channels)
    except UnidentifiedImageError:
        if is_tiff:
            return _read_tiff(content, channels)
        raise ValueError('the file is not an image of a known format') from None
    except ValueError:
        if not content.startswith(PNG_SIGNATURE):
            raise
        return _read_image(_without_texts(content), least_side, channels)


def _read_image(
    content: bytes, least_side: int | None, channels: int | None
) -> tuple[np.ndarray, int]:
    """The values of a file that Pillow knows, and its orientation."""
    try:
        opened = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from None
    with opened as image:
        _check_size(image.height, image.width)
        values = _read_pixels(image, content, least_side, channels)
        return values, image.getexif().get(ExifTags.Base.Orientation, 1)


def is_deep(path: str) -> bool:
    """Whether the header of an image file states more than 8 bits per channel, as Pillow reads it.

    Files that Pillow does not know count as 8-bit.
    """
    try:
        with Image.open(path) as image:
            return image.mode.startswith(('I', 'F')) or _has_16_bits(image)
    except (OSError, ValueError, SyntaxError):
        return False


def _has_16_bits(image: Image.Image) -> bool:
    return ';16' in str(image.tile)  # which loading clears


def _check_size(height: int, width: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f'the image has {width} x {height} pixels, more than {MAX_PIXELS:,}')


def _read_pixels(
    image: Image.Image, content: bytes, least_side: int | None, channels: int | None
) -> np.ndarray:
    """(H, W, C) values of an opened image, upright or not; BGR if C is 3."""
    if channels is None:
        is_grey = image.mode in ('1', 'L') or image.mode.startswith('I')
        channels = 1 if is_grey else len(image.getbands()) if image.mode in ('LA', 'RGBA') else 3
    if image.format in ('JPEG', 'MPO'):
        if image.mode in ('RGB', 'L'):
            bands = len(image.getbands())
            pixels = _read_jpeg(content, image.height, image.width, bands, least_side, channels)
            if pixels is not None:
                return pixels
        fraction = _fraction(image.height, image.width, least_side)
        image.draft(None, [side // fraction for side in image.size])
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # some packages let Pillow fill with grey, too
    has_16_bits = _has_16_bits(image)
    image.load()
    if image.mode == 'F':
        return _arrange(np.asarray(image), channels)
    if image.mode.startswith('I'):  # 'I;16' and its variants; 'I' is a 16-bit PNG in old Pillows
        values = np.asarray(image)
        is_short = values.min() >= 0 and values.max() <= 0xFFFF
        return _arrange(values.astype(np.uint16) if is_short else values, channels)
    if has_16_bits:  # of 16-bit colours Pillow keeps the upper 8 bits, which may hold nothing
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
        flags = flags if channels == 3 else cv2.IMREAD_UNCHANGED
        values = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        if values is None or values.dtype != np.uint16:
            raise ValueError(f'16-bit colours of a {image.format} cannot be decoded')
        if channels == 3:
            return values
        return _arrange(values[..., [2, 1, 0, 3][: values.shape[-1]]], channels)  # from BGR
    if channels == 3:
        # A palette with transparency becomes RGB only by way of RGBA.
        image = image.convert('RGBA') if image.mode == 'P' else image
        return np.asarray(image.convert('RGB'))[..., ::-1]
    if image.mode == '1':
        image = image.convert('L')
    if image.mode != MODES.get(channels):
        raise _other_channels(
            len(image.getbands()) if image.mode in MODES.values() else 3, channels
        )
    return np.atleast_3d(np.asarray(image))


def _fraction(height: int, width: int, least_side: int | None) -> int:
    """The part of its size, 1/8 to 1, at which a JPEG is decoded."""
    shorter = min(height, width)
    return next(f for f in (8, 4, 2, 1) if f == 1 or shorter // f >= (least_side or shorter))


def _read_jpeg(
    content: bytes, height: int, width: int, bands: int, least_side: int | None, channels: int
) -> np.ndarray | None:
    """(H, W, C) uint8 of a JPEG, upright or not, by simplejpeg; None if it refuses the file."""
    if channels != 3 and channels != bands:
        return None
    fraction = _fraction(height, width, least_side)
    try:
        return simplejpeg.decode_jpeg(
            content,
            'BGR' if channels == 3 else 'GRAY',
            min_width=-(-width // fraction),
            min_height=-(-height // fraction),
        )
    except ValueError:
        return None


def _jpeg_header(content: bytes) -> tuple[int, int, int] | None:
    """Height, width and number of bands of an ordinary JPEG: 8 bits, in colour or greyscale.

    None for others, and for those with segments that may turn the image, which hold EXIF or XMP.
    """
    start, size = 2, None
    while content[start : start + 1] == b'\xff':
        kind, length = content[start + 1 : start + 2], content[start + 2 : start + 4]
        if kind == b'\xda':  # the pixels follow
            return size
        if kind in JPEG_FRAMES:
            depth, *size = struct.unpack('>BHHB', content[start + 4 : start + 10].ljust(6))
            if depth != 8 or size[2] not in (1, 3):
                return None
        elif kind not in JPEG_SEGMENTS:
            return None
        start += 2 + int.from_bytes(length, 'big')
    return None


def _read_tiff(content: bytes, channels: int | None) -> tuple[np.ndarray, int]:
    """The values of a TIFF with any number of channels or pages, and its orientation."""
    try:
        import tifffile
    except ImportError:
        raise MisfitError(f'the file is a TIFF that only tifffile reads: {INSTALL_TIFF}') from None
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        series = file.series[0]
        axes = series.axes
        _check_size(*(series.shape[axes.index(axis)] for axis in 'YX'))
        try:
            values = series.asarray()
        except (KeyError, ValueError, ImportError) as error:
            if 'imagecodecs' not in str(error):
                raise
            raise MisfitError(f'tifffile cannot decompress it: {INSTALL_TIFF}') from None
        orientation = file.pages.first.tags.valueof('Orientation', 1)
    others = [number for number, axis in enumerate(axes) if axis not in 'YX']  # channels or pages
    return _arrange(values, channels, *others[:1]), int(orientation)


def _arrange(values: np.ndarray, channels: int | None, axis: int | None = None) -> np.ndarray:
    """An array of numbers -> (H, W, C), BGR if C is 3.

    Args:
        values: with two axes, or with a third for the channels.
        channels: as stated, or None for those of the array.
        axis: of the channels. By default the last or the first: the one of that length, or else the
            shorter one.

    Raises:
        MisfitError: for another number of channels.
        ValueError: if this is not one image.
    """
    if values.dtype.kind not in 'uif' or values.ndim not in (2, 3) or not values.size:
        raise ValueError(f'an array of {values.dtype} and shape {values.shape} is not one image')
    if values.ndim == 2:
        values = values[..., None]
    elif axis is None:
        fitting = [axis for axis in (-1, 0) if values.shape[axis] == channels]
        axis = min(fitting or (-1, 0), key=lambda axis: values.shape[axis])
    values = values if axis is None else np.moveaxis(values, axis, -1)
    if channels == 3 and values.shape[-1] == 1:
        values = np.repeat(values, 3, axis=-1)
    if channels not in (None, values.shape[-1]):
        raise _other_channels(values.shape[-1], channels)
    return values[..., ::-1] if values.shape[-1] == 3 else values


def _other_channels(found: int, stated: int) -> MisfitError:
    return MisfitError(
        f'the file has {found} channel{"s" * (found > 1)}, but channels={stated}: state '
        f'channels={found}, or remove the file'
    )


def _without_texts(content: bytes) -> bytes:
    """A PNG without texts and colour profile, which may be larger than Pillow accepts."""
    parts, start = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while start < len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], 'big')
        if content[start + 4 : start + 8] not in PNG_TEXTS:
            parts.append(content[start:end])
        start = end
    return b''.join(parts)
