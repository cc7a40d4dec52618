"""Annotations of Pascal VOC and YOLO as COCO JSON."""

import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from mmmask.datasets.coco import refuse
from mmmask.datasets.image_folder import EXTENSIONS, is_hidden
from mmmask.datasets.listing import list_files
from mmmask.outputs import MARK, OutputFolder


class Object(NamedTuple):
    """One object; the box is (x, y, width, height) in pixels, as are the points of the polygon."""

    name: str
    box: list[float]
    polygon: list[float] | None = None
    ignored: bool = False


def write_coco(
    annotations: str | os.PathLike,
    images: str | os.PathLike,
    out: str | os.PathLike,
    classes: str | os.PathLike | None = None,
) -> dict:
    """Write the annotations of all images of a folder as COCO JSON, and return it.

    Pascal VOC has an XML file for each image; its boxes count pixels from 1 and include the last
    one, and ``difficult`` objects become ``iscrowd``, so they are ignored in training and
    evaluation. YOLO has a text file with ``CLASS X Y WIDTH HEIGHT`` or ``CLASS X1 Y1 X2 Y2 ...`` (a
    polygon) in each line, as fractions of the image. Coordinates are cut at the border of the
    image.

    Args:
        annotations: folder of ``.xml`` or of ``.txt`` files, named after the images.
        images: folder of the images. An image without annotations is taken as one without objects.
        out: file to write.
        classes: names of the classes: a text file with one in each line, or ``names`` in a YAML
            file. YOLO needs it; for VOC it fixes the order, by default that of the alphabet.

    Raises:
        FileNotFoundError, FileExistsError: if an input is missing, or ``out`` is a file of others.
        ValueError: naming up to five files and lines that cannot be read, and why.
    """
    annotations, images, out = (Path(path).expanduser() for path in (annotations, images, out))
    for folder in (annotations, images):
        if not folder.is_dir():
            raise FileNotFoundError(f'{folder} is not a folder.')
    output = OutputFolder(out.parent)
    output.claim(out.name, 'the annotations')
    names = read_class_names(classes) if classes else None
    found = {name for name in list_files(str(annotations))[0] if not is_hidden(name)}
    xml, txt = ({n for n in found if n.lower().endswith(end)} for end in ('.xml', '.txt'))
    if classes:
        txt -= {os.path.relpath(Path(classes).expanduser(), annotations)}
    txt -= {'classes.txt'}
    if bool(xml) == bool(txt):
        raise ValueError(
            f'{annotations} contains {len(xml)} .xml and {len(txt)} .txt files: give a folder with '
            'the files of Pascal VOC alone or of YOLO alone.'
        )
    if txt and names is None:
        raise ValueError('YOLO numbers its classes: name them with --classes FILE.')
    files = {Path(name).with_suffix('').as_posix(): annotations / name for name in xml or txt}
    pictures = [n for n in sorted(list_files(str(images))[0]) if n.lower().endswith(EXTENSIONS)]
    stems = {
        Path(name).with_suffix('').as_posix(): name for name in pictures if not is_hidden(name)
    }
    problems = [
        f'{files[stem]}: there is no image {images / stem}.*: add it or remove the file.'
        for stem in sorted(files.keys() - stems.keys())
    ]
    if not stems:
        problems = [f'{images} contains no image.']
    entries: list[tuple[dict, list[Object]]] = []
    for number, (stem, name) in enumerate(stems.items(), 1):
        with Image.open(images / name) as image:
            width, height = image.size
        objects: list[Object] = []
        if stem in files:
            read = _read_voc(files[stem], (width, height)) if xml else _read_yolo(
                files[stem], (width, height), names
            )  # fmt: skip
            for one in read:
                (problems if isinstance(one, str) else objects).append(one)
        entries.append((dict(id=number, file_name=name, width=width, height=height), objects))
    used = {one.name for _, objects in entries for one in objects}
    names = names or sorted(used)
    problems += [f'class {name!r} is not in {classes}: add it.' for name in sorted(used - {*names})]
    refuse(annotations, problems, use='converted')
    content = dict(
        info=dict(description=MARK),
        images=[image for image, _ in entries],
        categories=[dict(id=number, name=name) for number, name in enumerate(names, 1)],
        annotations=[
            dict(
                id=number,
                image_id=image['id'],
                category_id=names.index(one.name) + 1,
                bbox=one.box,
                area=one.box[2] * one.box[3],
                iscrowd=int(one.ignored),
                **(dict(segmentation=[one.polygon]) if one.polygon else {}),
            )
            for number, (image, one) in enumerate(
                ((image, one) for image, objects in entries for one in objects), 1
            )
        ],
    )
    with output.file(out.name) as path:
        path.write_text(json.dumps(content), encoding='utf-8')
    return content


def read_class_names(path: str | os.PathLike) -> list[str]:
    """Names in the lines of a text file, or under ``names`` in a YAML file (a list or numbered).

    Raises:
        ValueError: if there are none, or one occurs twice.
    """
    path = Path(path).expanduser()
    text = path.read_text(encoding='utf-8-sig')
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if path.suffix.lower() in ('.yaml', '.yml'):
        import yaml

        content = yaml.safe_load(text)
        names = content.get('names') if isinstance(content, dict) else None
        if isinstance(names, dict) and sorted(names) == list(range(len(names))):
            names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or len(set(map(str, names))) < len(names):
        raise ValueError(f'{path} must name each class once, in lines or under "names" in YAML.')
    return list(map(str, names))


def _read_voc(path: Path, size: tuple[int, int]) -> Iterator[Object | str]:
    """Objects of an XML file, and a message for each that cannot be read."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, UnicodeError) as error:
        yield f'{path} is not XML ({error}): export it again.'
        return
    declared = tuple(root.findtext(f'size/{key}', '0') for key in ('width', 'height'))
    if declared not in (('0', '0'), tuple(map(str, size))):
        shown = ' x '.join(declared)
        yield f'{path} states {shown} pixels, but the image has {size[0]} x {size[1]}.'
        return
    for number, element in enumerate(root.iter('object'), 1):
        name = (element.findtext('name') or '').strip()
        try:
            left, top, right, bottom = (
                float(element.findtext(f'bndbox/{key}', ''))
                for key in ('xmin', 'ymin', 'xmax', 'ymax')
            )
        except ValueError:
            left, right = 1.0, 0.0
        if not name or not (left <= right and top <= bottom):
            yield f'{path}: object {number} needs name and bndbox with xmin <= xmax, ymin <= ymax.'
            continue
        box = cut([left - 1, top - 1, right, bottom], size)
        yield Object(name, box, ignored=element.findtext('difficult', '0').strip() == '1')


def _read_yolo(path: Path, size: tuple[int, int], names: list[str]) -> Iterator[Object | str]:
    """Objects of a text file, and a message for each line that cannot be read."""
    for number, line in enumerate(path.read_text(encoding='utf-8-sig').splitlines(), 1):
        words, place = line.split(), f'{path}:{number}: {line.strip()!r}'
        if not words:
            continue
        try:
            values = list(map(float, words[1:]))
        except ValueError:
            values = []
        if not words[0].isdigit() or (len(values) != 4 and (len(values) < 6 or len(values) % 2)):
            yield f'{place} is neither "CLASS X Y WIDTH HEIGHT" nor "CLASS X1 Y1 X2 Y2 X3 Y3 ...".'
        elif int(words[0]) >= len(names):
            yield f'{place}: class {words[0]} is not among the {len(names)} names of --classes.'
        elif not all(0 <= value <= 1 for value in values):
            yield f'{place}: coordinates are fractions of the image, from 0 to 1.'
        elif len(values) == 4:
            x, y, width, height = values
            corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
            pixels = [value * size[i % 2] for i, value in enumerate(corners)]
            yield Object(names[int(words[0])], cut(pixels, size))
        else:
            polygon = [value * size[i % 2] for i, value in enumerate(values)]
            xs, ys = polygon[::2], polygon[1::2]
            corners = [min(xs), min(ys), max(xs), max(ys)]
            yield Object(names[int(words[0])], cut(corners, size), polygon)


def cut(corners: list[float], size: tuple[int, int]) -> list[float]:
    """(left, top, right, bottom) -> (x, y, width, height) of what lies in an image (W, H)."""
    left, top = (min(max(corners[i], 0), size[i]) for i in (0, 1))
    right, bottom = (min(max(corners[i + 2], 0), size[i]) for i in (0, 1))
    return [left, top, right - left, bottom - top]
