"""From the bytes of an image file to an array."""

import io

import cv2
import numpy as np
import simplejpeg
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

# The size from which Pillow warns of a decompression bomb. The largest photograph of ImageNet has
# 15 million pixels.
MAX_PIXELS = 89_478_485
BIT_DEPTHS = 8, 10, 12, 14, 16  # of cameras, scanners and microscopes that write 16-bit files
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
    content: bytes, least_side: int | None = None, bits: int | None = None
) -> np.ndarray:
    """Bytes of an image file -> (H, W, 3) uint8, **BGR** as mmcv loads it.

    The content decides about the format, not the name. The image is turned upright by its EXIF tag.
    Greyscale, palette and CMYK images become colour images, an alpha channel is dropped, 16-bit
    images are scaled to 8 bits, and of an animation the first frame is taken.

    Pillow reads the header and decodes. The pixels of an intact JPEG come from simplejpeg, which is
    faster, gives the same values, and refuses every JPEG that libjpeg warns about; Pillow then
    decides about that file. OpenCV does not decode, because it fills what a truncated file lacks
    with grey without reporting it.

    Args:
        content: the file.
        least_side: a JPEG is decoded at a half, a quarter or an eighth of its size, which is
            faster, as long as both sides keep this many pixels.
        bits: depth of the values in 16-bit files, from 8 to 16. By default it is the smallest of
            8, 10, 12, 14 and 16 that holds the largest value of the image. State it for a data set
            in which some images are much darker than others.

    Raises:
        OSError, SyntaxError, ValueError: if the bytes are not one whole image, the image has more
            than ``MAX_PIXELS``, or its values need more than ``bits``.
    """
    if not content:
        raise ValueError('the file is empty')
    try:
        return _decode(content, least_side, bits)
    except ValueError:
        if not content.startswith(PNG_SIGNATURE):
            raise
        return _decode(_without_texts(content), least_side, bits)


def _decode(content: bytes, least_side: int | None, bits: int | None) -> np.ndarray:
    try:
        opened = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        raise ValueError('the file is not an image of a known format') from None
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from None
    with opened as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(
                f'the image has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}'
            )
        pixels = _read_pixels(image, content, least_side, bits)
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation in UPRIGHT:
        pixels = UPRIGHT[orientation](pixels)
    return np.ascontiguousarray(pixels)


def _read_pixels(
    image: Image.Image, content: bytes, least_side: int | None, bits: int | None
) -> np.ndarray:
    """The (H, W, 3) uint8 BGR pixels of an opened image, in the order of the file."""
    if image.format in ('JPEG', 'MPO'):
        shorter = min(image.size)
        fraction = next(
            f for f in (8, 4, 2, 1) if f == 1 or shorter // f >= (least_side or shorter)
        )
        if image.mode in ('RGB', 'L'):
            sides = [-(-side // fraction) for side in image.size]
            try:
                return simplejpeg.decode_jpeg(
                    content, 'BGR', min_width=sides[0], min_height=sides[1]
                )
            except ValueError:
                pass  # Pillow decides about a file that libjpeg warns about
        image.draft(None, [side // fraction for side in image.size])
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # some packages let Pillow fill with grey, too
    is_deep = ';16' in str(image.tile)  # which loading clears
    image.load()
    if image.mode == 'F':
        raise ValueError('a floating-point image has no 8-bit range')
    if image.mode.startswith('I'):  # 'I;16' and its variants; 'I' is a 16-bit PNG in old Pillows
        return np.repeat(_to_8_bits(np.asarray(image), bits)[..., None], 3, axis=-1)
    if is_deep:  # of 16-bit colours Pillow keeps the upper 8 bits, which may hold nothing
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
        values = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        if values is not None and values.dtype == np.uint16:
            return _to_8_bits(values, bits)
    if image.mode == 'P':  # a palette with transparency becomes RGB only by way of RGBA
        image = image.convert('RGBA')
    return np.asarray(image.convert('RGB'))[..., ::-1]


def _to_8_bits(values: np.ndarray, bits: int | None) -> np.ndarray:
    largest = int(values.max())
    if largest > 0xFFFF or values.min() < 0:
        raise ValueError('a 32-bit image has no 8-bit range')
    needed = next(depth for depth in BIT_DEPTHS if largest < 1 << depth)
    if bits is not None and largest >= 1 << bits:
        raise ValueError(f'the largest value is {largest}, but bits={bits} hold {(1 << bits) - 1}')
    return (values >> ((bits or needed) - 8)).astype(np.uint8)


def _without_texts(content: bytes) -> bytes:
    """A PNG without texts and colour profile, which may be larger than Pillow accepts."""
    parts, start = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while start < len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], 'big')
        if content[start + 4 : start + 8] not in PNG_TEXTS:
            parts.append(content[start:end])
        start = end
    return b''.join(parts)
