"""The files of a folder or of an archive: their names, their bytes, and what identifies them."""

import functools
import os
import tarfile
import zipfile
from collections.abc import Sequence

from .sources import TarArchive, TarMember

MAX_BYTES = 1 << 28  # of a file; what an archive unpacks to is known before it does


def list_files(source: str, prefix: str = '') -> tuple[list[str], dict[str, str]]:
    """Names of the files below a folder or in an archive, and links to folders seen before.

    Names are relative to the prefix. Links to folders are followed, and every folder is listed
    once: by its own name rather than by that of a link, and otherwise by the first name in sorted
    order. Hidden folders are not entered.

    Returns:
        The names; and for each folder that is left out, because it is another name of one that is
        listed, that name. A link to a folder in which it lies is omitted.
    """
    if os.path.isfile(source):
        start = f'{prefix}/' if prefix else ''
        names = archive_members(source, os.getpid())
        return [name[len(start) :] for name in names if name.startswith(start)], {}
    top = os.path.join(source, prefix)
    names, aliases, listed = [], {}, {}
    for folder, subfolders, files in os.walk(top, followlinks=True):
        place = _relative(folder, top)
        real = os.path.realpath(folder)
        if real in listed:
            subfolders.clear()
            if not f'{place}/'.startswith(f'{listed[real]}/' if listed[real] else ''):
                aliases[place] = listed[real]
            continue
        listed[real] = place
        subfolders[:] = sorted(
            (name for name in subfolders if not name.startswith('.')),
            key=lambda name: (os.path.islink(os.path.join(folder, name)), name),
        )
        names += [f'{place}/{file}' if place else file for file in files]
    return names, aliases


def _relative(folder: str, top: str) -> str:
    place = os.path.relpath(folder, top).replace(os.sep, '/')
    return '' if place == '.' else place


def read_file(source: str, prefix: str, name: str) -> bytes:
    """The bytes of one of :func:`list_files`' names. Nothing of an archive is written to disk.

    Raises:
        OSError, KeyError, zipfile.BadZipFile: if it cannot be read.
        ValueError: if it is larger than an image can be.
    """
    if os.path.isfile(source):
        member = archive_members(source, os.getpid())[f'{prefix}/{name}' if prefix else name]
        _check_size(member.file_size)
        return open_archive(source, os.getpid()).read(member)
    with open(os.path.join(source, prefix, name), 'rb', buffering=0) as file:
        _check_size(os.fstat(file.fileno()).st_size)
        return file.read()


def fingerprints(source: str, prefix: str, names: Sequence[str]) -> list[tuple[int, int]]:
    """Size and time of change of each file, or size and CRC-32 of each member of an archive."""
    if os.path.isfile(source):
        members = archive_members(source, os.getpid())
        found = (members[f'{prefix}/{name}' if prefix else name] for name in names)
        return [(member.file_size, member.CRC) for member in found]
    states = (os.stat(os.path.join(source, prefix, name)) for name in names)
    return [(state.st_size, state.st_mtime_ns) for state in states]


def _check_size(num_bytes: int) -> None:
    if num_bytes > MAX_BYTES:
        raise ValueError(f'the file has {num_bytes:,} bytes, more than {MAX_BYTES:,}')


@functools.lru_cache(maxsize=8)
def open_archive(path: str, process: int) -> zipfile.ZipFile | TarArchive:
    """An open archive; one per process, because forked workers would share a file offset.

    Raises:
        ValueError: if the file is neither a zip archive nor an uncompressed tar archive.
    """
    try:
        return TarArchive(path) if tarfile.is_tarfile(path) else zipfile.ZipFile(path)
    except (tarfile.ReadError, zipfile.BadZipFile) as error:
        raise ValueError(
            f'source={path!r} is neither a folder nor a zip archive, nor an uncompressed tar '
            f'archive ({error}): unpack it into a folder, or give a .zip or .tar file.'
        ) from error


@functools.lru_cache(maxsize=8)
def archive_members(path: str, process: int) -> dict[str, zipfile.ZipInfo | TarMember]:
    """The members of an archive by their names with forward slashes and without ``./``."""
    members = open_archive(path, process).NameToInfo
    if not any('\\' in name or name.startswith('./') or '/./' in name for name in members):
        return members
    parts = {name: name.replace('\\', '/').split('/') for name in members}
    return {'/'.join(p for p in parts[name] if p != '.'): info for name, info in members.items()}
