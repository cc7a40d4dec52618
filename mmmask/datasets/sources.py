"""Archives that are read in place like zip files."""

import os
import tarfile
from typing import NamedTuple


class TarMember(NamedTuple):
    """A file in a tar archive, with the names of ``zipfile.ZipInfo``.

    Attributes:
        offset: where its bytes begin in the archive.
        file_size: number of bytes.
        CRC: identifies its content together with the size. Tar files have no checksum of the
            content, so this is the modification time.
    """

    offset: int
    file_size: int
    CRC: int


class TarArchive:
    """An uncompressed tar archive, such as a shard of webdataset, with random access.

    The headers are read once. A file is then one read at its offset, as fast as in a zip archive,
    so samplers shuffle and resume as with folders. Links and other special members are left out,
    and of two members with the same name the last is used.

    Args:
        path: of the archive.

    Raises:
        tarfile.ReadError: if it is not an uncompressed tar archive.
    """

    def __init__(self, path: str) -> None:
        with tarfile.open(path, 'r:') as archive:
            self.NameToInfo = {
                member.name: TarMember(member.offset_data, member.size, int(member.mtime))
                for member in archive
                if member.isreg() and not member.issparse()
            }
        self._file = open(path, 'rb', buffering=0)  # noqa: SIM115  closed with the process

    def read(self, member: TarMember) -> bytes:
        """The bytes of a member.

        Raises:
            OSError: if the archive ends before the member does.
        """
        content = os.pread(self._file.fileno(), member.file_size, member.offset)
        if len(content) != member.file_size:
            raise OSError(f'the archive ends within the file, after {len(content):,} bytes')
        return content
