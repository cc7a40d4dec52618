"""Writing inside one folder only, and never over a file that mmmask did not write."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

RECORD = '.mmmask_outputs'


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

    The file ``.mmmask_outputs`` in the folder records the name and the SHA-256 of each file that is
    written, so that a tool can run again over its own outputs. A file that was edited since counts
    as the user's.

    Args:
        folder: need not exist yet; ``~`` is expanded.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder).expanduser()
        self._owners: dict[str, str] = {}
        self._written: set[tuple[str, str]] = set()
        record = self.folder / RECORD
        for line in record.read_text().splitlines() if record.is_file() else []:
            try:
                self._written.add(tuple(json.loads(line)))
            except ValueError:  # an empty line, or one cut off when a process was killed
                continue

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
        if name == RECORD or not path.parent.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(f'{path} is not inside {self.folder}: choose another output folder.')
        if os.path.lexists(path) and not self._is_own(name):
            raise FileExistsError(
                f'{path} exists and was not written by mmmask, or was changed since: '
                'move it away or choose another output folder.'
            )
        return path

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """A path to write to. The file appears under its name when the block ends without error.

        Raises:
            ValueError, FileExistsError: as :meth:`claim` does.
        """
        path = self.claim(name, self._owners.get(name, name))
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix='.unfinished-') as folder:
            draft = Path(folder, path.name)
            yield draft
            entry = name, _sha256(draft)
            # The record comes first: a process killed in between may run again.
            with (self.folder / RECORD).open('a') as record:
                record.write(f'\n{json.dumps(entry)}')
            self._written.add(entry)
            draft.replace(path)

    def _is_own(self, name: str) -> bool:
        path = self.folder / name
        return path.is_file() and not path.is_symlink() and (name, _sha256(path)) in self._written


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
