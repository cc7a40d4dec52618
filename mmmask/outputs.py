"""Writing inside one folder only, and never over a file that mmmask did not write."""

import mmap
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

MARK = 'written by mmmask'


def safe_name(name: str) -> str:
    """A file name found in data -> a relative path, with slashes, that stays below any folder.

    Sub-folders are kept if they only lead down. An absolute name, or one with ``..``, is reduced to
    its last part. Backslashes count as slashes: annotation tools on Windows write them.

    Raises:
        ValueError: if no file name is left.
    """
    path = PureWindowsPath(name)  # knows slashes, backslashes and drives
    relative = path.name if path.anchor or '..' in path.parts else path.as_posix()
    if relative in ('', '.', '..') or '\0' in relative:
        raise ValueError(f'{name!r} is not the name of a file.')
    return relative


class OutputFolder:
    """A folder to write files into, in which only files that mmmask wrote are ever replaced.

    They are recognized by ``MARK``, which every file that is written here contains as plain text:
    in the metadata of a picture, the comment of an archive, or any field of a JSON file. So a tool
    can run again over its own outputs, and a picture that was edited and saved since is kept.

    Args:
        folder: need not exist yet; ``~`` is expanded.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder).expanduser()
        self._owners: dict[str, str] = {}

    def claim(self, name: str, owner: str) -> Path:
        """Reserve a name for what ``owner`` describes. Claim all names before writing the first.

        Args:
            name: relative path, such as :func:`safe_name` returns.

        Raises:
            ValueError: if another owner has the name, or if it leads out of the folder.
            FileExistsError: if there is a file of this name that mmmask did not write.
        """
        other = self._owners.setdefault(name, owner)
        if other != owner:
            raise ValueError(
                f'{other} and {owner} would both be written to {self.folder / name}: '
                'give them different names.'
            )
        path = self.folder / name
        if not path.parent.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(f'{path} is not inside {self.folder}: choose another output folder.')
        if os.path.lexists(path) and (path.is_symlink() or not _is_marked(path)):
            raise FileExistsError(
                f'{path} exists and was not written by mmmask, or was edited since: '
                'move it away or choose another output folder.'
            )
        return path

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """A path to write to. The file appears under its name when the block ends without error.

        Raises:
            ValueError, FileExistsError: as :meth:`claim` does; also if ``MARK`` was not written.
        """
        path = self.claim(name, self._owners.get(name, name))
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix='.unfinished-') as folder:
            draft = Path(folder, path.name)
            yield draft
            if not _is_marked(draft):
                raise ValueError(f'{name} does not contain {MARK!r}: write it into the metadata.')
            draft.replace(path)

    def save_image(self, name: str, image: Image.Image, **options) -> Path:
        """Write a PNG or JPEG picture; ``options`` are those of Pillow. Raises as :meth:`file`."""
        info = PngInfo()
        info.add_text('Software', MARK)
        with self.file(name) as path:
            image.save(path, pnginfo=info, comment=MARK, **options)
        return self.folder / name


def refuse_to_replace(path: str | os.PathLike) -> None:
    """Raise FileExistsError if there is a file at this path that mmmask did not write."""
    path = Path(path)
    OutputFolder(path.parent).claim(path.name, 'the output')


def mark_archive(file: str | os.PathLike | BinaryIO) -> None:
    """Add a record with ``MARK`` to a zip archive, such as ``torch.save`` writes.

    It lies in the folder of the first record, as PyTorch wants of all records.
    """
    with zipfile.ZipFile(file, 'a') as archive:
        folder = archive.namelist()[0].partition('/')[0]
        archive.writestr(f'{folder}/software', MARK)


def _is_marked(path: Path) -> bool:
    if not path.is_file() or not path.stat().st_size:  # an empty file cannot be mapped
        return False
    with (
        path.open('rb') as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(MARK.encode()) >= 0
