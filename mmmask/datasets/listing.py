"""The files of a folder or of an archive: their names, their bytes, and what identifies them."""

import functools
import os
import tarfile
import zipfile
from collections.abc import Sequence

from .sources import Member, expand_range, find_shards, index_shards, plain_name, read_member

Place = str | tuple[str, ...]  # a folder of files, a zip archive, or shards

MAX_BYTES = 1 << 28  # of a file; what an archive unpacks to is known before it does


def locate(source: str, prefix: str = '') -> tuple[Place, str]:
    """Where the files below a prefix of a source are, and what is left of the prefix there.

    Shards are a tar archive, an Arrow or Parquet table, a range of them such as
    ``train-{000..015}.tar``, or a folder of them.

    Raises:
        ValueError: if a range is empty, or a folder has shards of several kinds.
    """
    if os.path.isdir(source):
        for folder, inner in ((os.path.join(source, prefix), ''), (source, prefix)):
            if os.path.isdir(folder) and (shards := find_shards(folder)):
                return shards, inner
        return source, prefix
    if os.path.isfile(source) and not tarfile.is_tarfile(source) and zipfile.is_zipfile(source):
        return source, prefix
    return tuple(expand_range(source)), prefix


def list_files(place: Place, prefix: str = '') -> tuple[list[str], dict[str, str]]:
    """Names of the files below a folder, in an archive or in shards, and links to folders.

    Names are relative to the prefix. Links to folders are followed, and every folder is listed
    once: by its own name rather than by that of a link, and otherwise by the first name in sorted
    order. Hidden folders are not entered.

    Returns:
        The names; and for each folder that is left out, because it is another name of one that is
        listed, that name. A link to a folder in which it lies is omitted.
    """
    if is_archive(place):
        start = f'{prefix}/' if prefix else ''
        names = archive_members(place)
        return [name[len(start) :] for name in names if name.startswith(start)], {}
    top = os.path.join(place, prefix)
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


def read_file(place: Place, prefix: str, name: str) -> bytes:
    """The bytes of one of :func:`list_files`' names. Nothing of an archive is written to disk.

    Raises:
        OSError, KeyError, zipfile.BadZipFile: if it cannot be read.
        ValueError: if it is larger than an image can be.
    """
    if is_archive(place):
        member = archive_members(place)[f'{prefix}/{name}' if prefix else name]
        _check_size(member.file_size)
        if isinstance(member, Member):
            return read_member(member)
        return open_zip(place, os.getpid()).read(member)
    with open(os.path.join(place, prefix, name), 'rb', buffering=0) as file:
        _check_size(os.fstat(file.fileno()).st_size)
        return file.read()


def fingerprints(place: Place, prefix: str, names: Sequence[str]) -> list[tuple[int, int]]:
    """Size and time of change of each file, or size and CRC-32 of each member of an archive."""
    if is_archive(place):
        members = archive_members(place)
        found = (members[f'{prefix}/{name}' if prefix else name] for name in names)
        return [(member.file_size, member.CRC) for member in found]
    states = (os.stat(os.path.join(place, prefix, name)) for name in names)
    return [(state.st_size, state.st_mtime_ns) for state in states]


def is_archive(place: Place) -> bool:
    """Whether the files are members of an archive or of shards."""
    return isinstance(place, tuple) or os.path.isfile(place)


def _check_size(num_bytes: int) -> None:
    if num_bytes > MAX_BYTES:
        raise ValueError(f'the file has {num_bytes:,} bytes, more than {MAX_BYTES:,}')


def archive_members(place: Place) -> dict[str, zipfile.ZipInfo | Member]:
    """The members of an archive or of shards by their names."""
    if isinstance(place, tuple):
        return index_shards(place)
    return zip_members(place, os.getpid())


@functools.lru_cache(maxsize=8)
def open_zip(path: str, process: int) -> zipfile.ZipFile:
    """An open archive; one per process, because forked workers would share a file offset."""
    return zipfile.ZipFile(path)


@functools.lru_cache(maxsize=8)
def zip_members(path: str, process: int) -> dict[str, zipfile.ZipInfo]:
    """The members of a zip archive by their names with forward slashes and without ``./``."""
    return {plain_name(name): info for name, info in open_zip(path, process).NameToInfo.items()}
