"""Shards, which are tar archives and Arrow tables: their files are read in place."""

import json
import os
import posixpath
import re
import tarfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track

from .cache import cache_key, check_space, make_once

EXTENSIONS = (
    *('.jpg', '.jpeg', '.jfif', '.png', '.bmp', '.gif', '.tif', '.tiff', '.webp', '.avif'),
    *('.ppm', '.pgm'),
)
SHARDS = '.tar', '.arrow', '.parquet'
RANGE = re.compile(r'\{(\d+)\.\.(\d+)\}')
PARQUET_SIGNATURE, ARROW_SIGNATURES = b'PAR1', (b'\xff\xff\xff\xff', b'ARROW1')
END_OF_STREAM = b'\xff\xff\xff\xff\0\0\0\0'  # of Arrow; its reader also accepts files without it
SAVE = 'write it by save_to_disk of the package datasets'


class Member(NamedTuple):
    """A file in a shard, with the names of ``zipfile.ZipInfo``.

    Attributes:
        shard: path of the tar archive or Arrow table.
        offset: where its bytes begin in there.
        file_size: number of bytes.
        CRC: identifies its content together with the size. Shards have no checksum of the content,
            so this is the modification time of the file, or of the table.
    """

    shard: str
    offset: int
    file_size: int
    CRC: int


class Found(NamedTuple):
    """A file of a shard: the name of its class, if any, its own name, and where it is."""

    label: str | None
    name: str
    member: Member


def expand_range(source: str) -> list[str]:
    """``train-{000..015}.tar`` -> the 16 paths, as webdataset writes them; else the path itself.

    Raises:
        ValueError: if the range is empty.
    """
    found = RANGE.search(source)
    if not found:
        return [source]
    first, last = found.groups()
    if int(first) > int(last):
        raise ValueError(
            f'source={source!r} has a range that ends before it begins: swap its ends.'
        )
    numbers = (f'{number:0{len(first)}}' for number in range(int(first), int(last) + 1))
    return [source[: found.start()] + number + source[found.end() :] for number in numbers]


def missing_path(source: str | os.PathLike) -> str | None:
    """The first path that a source names and that does not exist."""
    paths = expand_range(os.path.expanduser(os.fspath(source)))
    return next((path for path in paths if not os.path.exists(path)), None)


def find_shards(folder: str) -> tuple[str, ...]:
    """The shards of a folder that holds neither images nor sub-folders beside them.

    Raises:
        ValueError: if they differ in more than numbers, as those of training and test do.
    """
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.lower()
            if not name.startswith('.') and (entry.is_dir() or name.endswith(EXTENSIONS)):
                return ()
            if name.endswith(SHARDS) and not name.startswith('.'):
                names.append(entry.name)
    kinds = {re.sub(r'\d+', '', name): name for name in sorted(names, reverse=True)}
    if len(kinds) > 1:
        raise ValueError(
            f'{folder!r} holds shards of {len(kinds)} kinds, such as '
            f'{", ".join(sorted(kinds.values())[:3])}: give one of these '
            "files, or a range such as 'train-{000..015}.tar'."
        )
    return tuple(os.path.join(folder, name) for name in sorted(names))


@lru_cache(maxsize=8)
def index_shards(paths: tuple[str, ...]) -> dict[str, Member]:
    """The files of all shards by their names, which begin with the name of a class if there is one.

    Rows of a table are named by their numbers, which go on from one table to the next. Class
    numbers have leading zeros, so that the order of the names is theirs.

    Raises:
        ValueError: if a file is no such shard or a table has no images, two shards contain the same
            image, or a class cannot be the name of a folder.
    """
    found: list[Found] = []
    for path in paths:
        found += _index(path, len(found))
    labels = {one.label for one in found} - {None}
    width = max((len(label) for label in labels if label.isdecimal()), default=0)
    for label in labels:
        if not label or label.startswith('.') or '/' in label:
            raise ValueError(
                f'{paths[0]!r} has the class {label!r}, which cannot be the name of a folder: '
                'rename it.'
            )
    members: dict[str, Member] = {}
    for label, name, member in found:
        if label is not None:
            name = f'{label.zfill(width) if label.isdecimal() else label}/{name}'
        other = members.get(name)
        if other and other.shard != member.shard and name.lower().endswith(EXTENSIONS):
            raise ValueError(
                f'{other.shard!r} and {member.shard!r} both contain {name!r}: rename one of the '
                "files, or combine two data sets with type='ConcatDataset'."
            )
        members[name] = member
    return members


def read_member(member: Member) -> bytes:
    """The bytes of a file in a shard.

    Raises:
        OSError: if the shard is gone, or ends before the file does.
    """
    with open(member.shard, 'rb', buffering=0) as shard:
        content = os.pread(shard.fileno(), member.file_size, member.offset)
    if len(content) != member.file_size:
        raise OSError(f'the shard ends within the file, after {len(content):,} bytes')
    return content


def plain_name(name: str) -> str:
    """A name in an archive with forward slashes and without ``./``."""
    if '\\' not in name and './' not in name:
        return name
    return '/'.join(part for part in name.replace('\\', '/').split('/') if part != '.')


def _index(path: str, num_before: int) -> Iterable[Found]:
    with open(path, 'rb') as file:
        start = file.read(8)
    try:
        if start.startswith(PARQUET_SIGNATURE):
            return _index_table(path, _arrow_copy(path), num_before)
        if start.startswith(ARROW_SIGNATURES):
            return _index_table(path, path, num_before)
        return _index_tar(path)
    except ImportError:
        raise ValueError(f"{path!r} needs pyarrow: pip install 'mmmask[parquet]'.") from None
    except tarfile.ReadError as error:
        raise ValueError(
            f'source={path!r} is neither a folder nor a zip archive, nor an uncompressed tar '
            f'archive, nor an Arrow or Parquet table ({error}): unpack it into a folder, or give a '
            '.zip or .tar file.'
        ) from error


def _index_tar(path: str) -> list[Found]:
    """The regular files of a tar archive, of which the last counts if two have one name.

    As in webdataset, ``0.cls`` holds the class of ``0.jpg``.
    """
    files, labels = [], {}
    with tarfile.open(path, 'r:') as archive:
        for info in archive:
            if not info.isreg() or info.issparse():
                continue
            name = plain_name(info.name)
            if name.endswith('.cls'):
                content = archive.extractfile(info).read()
                labels[_key(name)] = content.decode('utf-8', 'replace').strip()
            else:
                member = Member(path, info.offset_data, info.size, int(info.mtime))
                files.append((name, member))
    return [Found(labels.get(_key(name)), name, member) for name, member in files]


def _key(name: str) -> str:
    """What the files of a sample have in common: all before the first dot after the folder."""
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base.split('.')[0])


def _index_table(path: str, arrow: str, num_before: int) -> list[Found]:
    """The images of an Arrow table, where they are in the file, with their classes.

    Args:
        path: of the table, for messages.
        arrow: of the Arrow file, which is that table or its copy.
        num_before: number of the first row.
    """
    import pyarrow

    whole = pyarrow.memory_map(arrow).read_buffer()  # which reads nothing yet
    try:
        with _open_table(whole) as reader:
            table = reader.read_all()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ValueError(f'{path!r} is not an intact Arrow table ({error}): {SAVE}.') from error
    images, label, classes = _columns(path, table.schema)
    labels = table.column(label).to_pylist() if label else [None] * len(table)
    changed = int(os.stat(arrow).st_mtime)
    names, spans = [], []
    for chunk in table.column(images).chunks:
        ending = '.png'  # of what datasets makes of arrays
        endings = [ending] * len(chunk)
        if pyarrow.types.is_struct(chunk.type):
            if chunk.type.get_field_index('path') >= 0:
                endings = [
                    posixpath.splitext(name or '')[1] or ending
                    for name in chunk.field('path').to_pylist()
                ]
            chunk = chunk.field('bytes')
        names += endings
        spans.append(_spans(chunk, whole))
    spans = np.concatenate(spans) if spans else np.zeros((0, 2), int)
    if len(spans) and (spans[:, 0] < 0).any():
        raise ValueError(f'{path!r} is compressed, so its images cannot be read in place: {SAVE}.')
    if len(spans) and not spans[:, 1].any():
        raise ValueError(f'{path!r} holds the paths of files instead of images: {SAVE}.')
    return [
        Found(_class_name(value, classes), f'{num_before + row:08}{ending}',
              Member(arrow, start, size, changed))
        for row, (value, ending, (start, size)) in enumerate(
            zip(labels, names, spans.tolist(), strict=True)
        )
    ]  # fmt: skip


def _open_table(whole):
    import pyarrow

    if whole[:6].to_pybytes() == ARROW_SIGNATURES[1]:
        return pyarrow.ipc.open_file(whole)
    if whole[-len(END_OF_STREAM) :].to_pybytes() != END_OF_STREAM:
        raise pyarrow.ArrowInvalid('its end is missing')
    return pyarrow.ipc.open_stream(whole)


def _spans(values, whole) -> np.ndarray:
    """(N, 2) where each binary value begins in the mapped file, and its size. -1 is outside."""
    import pyarrow

    width = np.int64 if pyarrow.types.is_large_binary(values.type) else np.int32
    _, offsets, content = values.buffers()
    ends = np.frombuffer(offsets, width)[values.offset :][: len(values) + 1].astype(np.int64)
    begin = content.address - whole.address if content else 0
    is_inside = begin >= 0 and begin + ends[-1] <= whole.size
    starts = begin + ends[:-1] if is_inside else np.full(len(values), -1)
    return np.stack([starts, np.diff(ends)], axis=1)


def _class_name(value: int | str | None, classes: list[str] | None) -> str | None:
    if value is None or (classes and value < 0):  # datasets writes -1 where no class is known
        return None
    return classes[value] if classes else str(value)


def _columns(path: str, schema) -> tuple[str, str | None, list[str] | None]:
    """The columns of the images and of their classes, and the names of the classes.

    What the package datasets says about the columns decides. Without it these are the first column
    of bytes, and the column ``label``.
    """
    from pyarrow import types

    described = json.loads((schema.metadata or {}).get(b'huggingface') or '{}')
    features = (described.get('info') or {}).get('features') or {}

    def of_kind(kind: str) -> list[str]:
        known = features.items()
        return [name for name, one in known if isinstance(one, dict) and one.get('_type') == kind]

    def holds_bytes(kind) -> bool:
        if types.is_struct(kind):
            index = kind.get_field_index('bytes')
            return index >= 0 and holds_bytes(kind.field(index).type)
        return types.is_binary(kind) or types.is_large_binary(kind)

    images = of_kind('Image') or [field.name for field in schema if holds_bytes(field.type)]
    if not images:
        raise ValueError(
            f'{path!r} has no column of images, but {schema.names}: give a table with a column of '
            'image files as bytes, such as save_to_disk of the package datasets writes.'
        )
    named = of_kind('ClassLabel')
    if named:
        return images[0], named[0], features[named[0]]['names']
    is_label = 'label' in schema.names and (
        types.is_integer(schema.field('label').type) or types.is_string(schema.field('label').type)
    )
    return images[0], 'label' if is_label else None, None


def _arrow_copy(path: str) -> str:
    """An Arrow table with the images and classes of a Parquet table, which is compressed.

    It is made once, and kept with the decoded copies of images.
    """
    import pyarrow
    from pyarrow import parquet

    state = os.stat(path)
    name = os.path.basename(path)
    key = cache_key([name], [(state.st_size, state.st_mtime_ns)], table=True)

    def write(folder: Path) -> None:
        with parquet.ParquetFile(path) as file:
            images, label, _ = _columns(path, file.schema_arrow)
            columns = [images, *filter(None, [label])]
            groups = range(file.num_row_groups)
            size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
            check_space(folder, size, f'the uncompressed copy of {path}', 'free some')
            schema = pyarrow.schema(
                [file.schema_arrow.field(column) for column in columns],
                file.schema_arrow.metadata,
            )
            with pyarrow.OSFile(str(folder / 'table.arrow'), 'wb') as output, \
                    pyarrow.ipc.new_stream(output, schema) as writer:  # fmt: skip
                for group in track(groups, f'unpacking {name}', transient=True):
                    writer.write_table(file.read_row_group(group, columns).select(columns))

    try:
        return str(make_once(key, write) / 'table.arrow')
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f'{path!r} is not an intact Parquet table ({error}).') from error
