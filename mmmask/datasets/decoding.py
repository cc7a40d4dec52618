"""From the bytes of an image file to an array."""

import io

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

# What Pillow warns of as a decompression bomb; the largest photograph of ImageNet has 15 million.
MAX_PIXELS = 89_478_485


def decode_image(content: bytes, least_side: int | None = None) -> np.ndarray:
    """Bytes of an image file -> (H, W, 3) uint8, **BGR** as mmcv loads it.

    The content decides about the format, not the name. Turned upright by its EXIF tag; greyscale,
    palette and CMYK become colour, an alpha channel is dropped, 16-bit grey is scaled to 8 bits,
    and of an animation the first frame is taken. Pillow decodes, because OpenCV fills what a
    truncated file lacks with grey and says nothing.

    Args:
        content: the file.
        least_side: a JPEG is decoded at a half, a quarter or an eighth of its size, several times
            faster, as far as both sides keep this many pixels.

    Raises:
        OSError, SyntaxError, ValueError: if the bytes are not one whole image, or one of more than
            ``MAX_PIXELS``.
    """
    if not content:
        raise ValueError('the file is empty')
    try:
        opened = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        raise ValueError('the file is not an image of a known format') from None
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from None
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # some packages let Pillow fill with grey, too
    with opened as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(
                f'the image has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}'
            )
        if least_side:
            image.draft(None, (least_side, least_side))
        image = ImageOps.exif_transpose(image)
        if image.mode == 'F':
            raise ValueError('a floating-point image has no 8-bit range')
        if image.mode.startswith('I'):  # 'I;16' and its kin; 'I' holds 16-bit PNGs of old Pillows
            return np.repeat(_to_8_bits(np.asarray(image))[..., None], 3, axis=-1)
        if image.mode == 'P':  # a palette with transparency goes to RGB only by way of RGBA
            image = image.convert('RGBA')
        return np.ascontiguousarray(np.asarray(image.convert('RGB'))[..., ::-1])


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    if values.max() > 0xFFFF or values.min() < 0:
        raise ValueError('a 32-bit image has no 8-bit range')
    return (values >> 8).astype(np.uint8)
