"""Decoded images in a file that all processes map into their memory."""

import fcntl
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track

from .pixel_format import MisfitError

FORMAT = 2  # enters the key, so a cache of another format is never opened
PROBES = 32  # images from which the size of a cache is estimated
CHUNK = 1024  # images that are decoded ahead of the one that is written, at most
FREE_BYTES = 1 << 30  # that a cache leaves on the disk


class CachedImages(NamedTuple):
    """Decoded images of any sizes, one after the other in a mapped file.

    Attributes:
        pixels: the values of all images, mapped read-only.
        starts: (N + 1,) where each image begins in it; an unreadable one is empty.
        shapes: (N, 3) heights, widths and channels.
        failures: reason why an image could not be decoded, by its number.
    """

    pixels: np.ndarray
    starts: np.ndarray
    shapes: np.ndarray
    failures: dict[int, str]

    def load(self, index: int) -> np.ndarray:
        """A copy of the index-th image, (H, W, C).

        Raises:
            CachedFailure: if it could not be decoded.
        """
        if index in self.failures:
            raise CachedFailure(self.failures[index])
        start, end = self.starts[index : index + 2].tolist()
        return np.array(self.pixels[start:end]).reshape(self.shapes[index].tolist())


class CachedFailure(ValueError):
    """The reason why an image could not be decoded when the cache was made."""


def cache_folder() -> Path:
    """Where caches are kept: ``mmmask/images`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache', 'mmmask', 'images')


def cache_key(names: Sequence[str], fingerprints: Sequence[tuple[int, int]], **options) -> str:
    """A name for the cache of these files, decoded in this way, wherever they lie."""
    digest = hashlib.sha256(json.dumps([FORMAT, options], sort_keys=True).encode())
    for name, fingerprint in zip(names, fingerprints, strict=True):
        digest.update(json.dumps([name, *fingerprint]).encode())
    return digest.hexdigest()[:32]


def make_once(key: str, write: Callable[[Path], None]) -> Path:
    """A folder in the cache, which is written if it is not there.

    One process writes while the others wait for it. An interrupted write leaves a folder that ends
    in ``.partial``, and the next one replaces it.

    Args:
        key: of :func:`cache_key`, the name of the folder.
        write: puts the files into an empty folder.
    """
    folder = cache_folder() / key
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f'{folder}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            partial = folder.with_name(f'{key}.partial')
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                write(partial)
            except BaseException:
                shutil.rmtree(partial)
                raise
            partial.rename(folder)
    return folder


def make_cache(key: str, num_images: int, decode: Callable[[int], np.ndarray], title: str) -> Path:
    """The folder of decoded images, which :func:`make_once` writes.

    Args:
        key: of :func:`cache_key`.
        num_images: number of images.
        decode: gives the (H, W, C) pixels of an image by its number, all of one type. What it
            raises is kept in place of the image, except for a :class:`MisfitError`.
        title: what is shown beside the progress bar.

    Raises:
        MisfitError: what ``decode`` raises.
        OSError: if the disk has too little space for all images.
    """
    return make_once(key, lambda folder: _write(folder, num_images, decode, title))


def _write(folder: Path, num_images: int, decode: Callable[[int], np.ndarray], title: str) -> None:
    shapes = np.zeros((num_images, 3), np.int64)
    failures, dtype = {}, np.dtype(np.uint8)

    def attempt(index: int) -> np.ndarray | str:
        try:
            return decode(index)
        except MisfitError:
            raise
        except Exception as error:  # the libraries know a dozen ways to refuse a file
            return explain(error)

    probes = np.unique(np.linspace(0, num_images - 1, PROBES, dtype=int)).tolist()
    sizes = [getattr(attempt(index), 'nbytes', 0) for index in probes]
    check_space(
        folder,
        int(np.mean(sizes) * num_images),
        f'the decoded copies of {num_images:,} images',
        'lower cache_side, leave it out',
    )
    with open(folder / 'pixels', 'wb') as file:
        for index, image in enumerate(in_threads(attempt, num_images, title)):
            if isinstance(image, str):
                failures[index] = image
            else:
                shapes[index], dtype = image.shape, image.dtype
                file.write(np.ascontiguousarray(image).data)
    np.save(folder / 'shapes.npy', shapes)
    (folder / 'failures.json').write_text(json.dumps(failures))
    (folder / 'dtype').write_text(dtype.name)


def in_threads(function: Callable[[int], object], num_items: int, title: str) -> Iterator:
    """The results of a function of 0 … ``num_items`` - 1 in order, with a progress bar."""

    def results() -> Iterator:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for first in range(0, num_items, CHUNK):  # so that few results wait in memory
                yield from pool.map(function, range(first, min(first + CHUNK, num_items)))

    yield from track(results(), title, total=num_items)


def explain(error: Exception) -> str:
    """An exception in one line."""
    if isinstance(error, CachedFailure):
        return str(error)
    return ' '.join(f'{type(error).__name__}: {error}'.split())


def check_space(folder: Path, num_bytes: int, content: str, remedy: str) -> None:
    """Raise OSError if the disk of a folder in the cache has too little space for its content."""
    free = shutil.disk_usage(folder).free
    if num_bytes > free - FREE_BYTES:
        raise OSError(
            f'{content} need about {num_bytes / 1e9:.1f} GB in {folder.parent}, where '
            f'{free / 1e9:.1f} GB are free: {remedy}, or set XDG_CACHE_HOME to a folder on another '
            'disk.'
        )


@functools.lru_cache(maxsize=8)
def open_cache(folder: Path) -> CachedImages:
    """The images of a folder that :func:`make_cache` gave, mapped once per process.

    Raises:
        ValueError: if the folder does not hold a whole cache.
    """
    try:
        shapes = np.load(folder / 'shapes.npy')
        failures = json.loads((folder / 'failures.json').read_text())
        dtype = np.dtype((folder / 'dtype').read_text())
        starts = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))])
        is_whole = os.path.getsize(folder / 'pixels') == starts[-1] * dtype.itemsize
    except (OSError, TypeError, ValueError):
        is_whole = False
    if not is_whole:
        raise ValueError(f'{folder} is not a whole cache of decoded images: remove it.')
    # A file without a byte cannot be mapped.
    mapped = np.memmap(folder / 'pixels', dtype, 'r') if starts[-1] else np.zeros(0, dtype)
    mapped = np.asarray(mapped)  # whose parts are made in less time than those of np.memmap
    return CachedImages(mapped, starts, shapes, {int(i): reason for i, reason in failures.items()})
