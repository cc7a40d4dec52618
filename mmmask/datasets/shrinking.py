"""Images made smaller once, so that every later epoch decodes less."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from .cache import in_threads
from .image_folder import ImageFolder
from .listing import read_file
from .resizing import shrink_image

JPEG_SIGNATURE = b'\xff\xd8\xff'
JPEG_ENDINGS = '.jpg', '.jpeg', '.jfif'


def shrink_images(
    source: str | os.PathLike,
    archive: str | os.PathLike,
    side: int,
    quality: int = 92,
    prefix: str = '',
) -> tuple[int, int]:
    """Write the images of a folder or zip archive as smaller JPEGs into a zip archive.

    Folders and names stay; names without an ending of JPEG get ``.jpg`` after theirs. A JPEG that
    is small enough is copied as it is. Unreadable images are reported and left out.

    Args:
        source: a folder or a ``.zip`` file.
        archive: the ``.zip`` file to write.
        side: short side of the written images, in pixels; smaller images are not enlarged.
        quality: of the JPEGs, from 1 to 100.
        prefix: take only files below this sub-folder.

    Returns:
        The numbers of written and of unreadable images.

    Raises:
        FileExistsError: if there is a file at ``archive``.
        FileNotFoundError: if there is no image.
        RuntimeError: if more than half of the images are unreadable.
        ValueError: if side or quality is out of range.
    """
    archive = Path(archive).expanduser()
    if side < 1 or not 1 <= quality <= 100:
        raise ValueError(f'side={side} must be 1 or more, and quality={quality} from 1 to 100.')
    if archive.exists():
        raise FileExistsError(f'{archive} exists: remove it, or choose another name.')
    dataset = ImageFolder(source, prefix=prefix, least_side=side)
    names = [dataset.get_data_info(index)['name'] for index in range(len(dataset))]

    def shrink(index: int) -> bytes | None:
        sample = dataset.get_data_info(index)
        if not dataset.load(sample):
            return None
        content = read_file(*dataset.place, names[index])
        if content.startswith(JPEG_SIGNATURE):
            with Image.open(io.BytesIO(content)) as image:
                if min(image.size) <= side:
                    return content
        pixels = np.ascontiguousarray(shrink_image(sample['img'], side))
        return simplejpeg.encode_jpeg(pixels, quality, 'BGR', '420')

    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_name(f'{archive.name}.partial')
    written: set[str] = set()
    with zipfile.ZipFile(partial, 'w') as output:
        contents = in_threads(shrink, len(names), f'shrinking {dataset.source}')
        for name, content in zip(names, contents, strict=True):
            if content is not None:
                while name in written or not name.lower().endswith(JPEG_ENDINGS):
                    name += '.jpg'
                written.add(name)
                output.writestr(name, content)
    partial.rename(archive)
    return len(written), len(names) - len(written)
