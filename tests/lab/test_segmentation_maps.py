"""Maps from annotation files as people have them: right, or refused with the entry named."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from mmmask.lab.segmentation_maps import map_name, write_segmentation_maps

SQUARE = [[2, 2, 7, 2, 7, 7, 2, 7]]


def image(**changes):
    return dict(id=1, file_name='a.jpg', width=20, height=10) | changes


def annotation(without=(), **changes):
    entry = dict(id=1, image_id=1, category_id=3, area=25, iscrowd=0, segmentation=SQUARE)
    return {key: value for key, value in (entry | changes).items() if key not in without}


@pytest.fixture
def write(tmp_path):
    """A function that writes a COCO JSON with some lists replaced, and then its maps."""

    def call(out='out', encoding='utf-8', **lists):
        content = dict(
            images=[image()],
            categories=[dict(id=7, name='x'), dict(id=3, name='y')],
            annotations=[annotation()],
        )
        path = tmp_path / 'instances.json'
        path.write_text(json.dumps(content | lists), encoding=encoding)
        return write_segmentation_maps(path, tmp_path / out)

    call.folder = tmp_path
    return call


def maps(folder):
    found = sorted(path for path in folder.rglob('*.png'))
    return {path.relative_to(folder).as_posix(): np.asarray(Image.open(path)) for path in found}


def square(value=2):
    expected = np.zeros((10, 20), np.uint8)
    expected[2:7, 2:7] = value
    return expected


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({}, square()),
        (dict(annotations=[annotation(without=('area',))]), square()),
        (dict(annotations=[annotation(area=None)]), square()),
        (dict(annotations=[annotation(without=('area', 'iscrowd'))]), square()),
        (dict(images=[image(id='s')], annotations=[annotation(image_id='s')]), square()),
        (
            # Run lengths: columns one after the other. The sixth to tenth are masked.
            dict(
                annotations=[
                    annotation(iscrowd=1, segmentation=dict(size=[10, 20], counts=[50, 50, 100]))
                ]
            ),
            np.repeat(np.uint8([[0, 2, 0, 0]]), 5, 1).repeat(10, 0),
        ),
        (
            dict(
                categories=[dict(id=i) for i in range(1, 255)],
                annotations=[annotation(category_id=254)],
            ),
            square(254),
        ),
        (dict(encoding='utf-8-sig'), square()),
    ],
    ids=[
        'plain', 'no area', 'area null', 'neither area nor iscrowd', 'ids are strings',
        'run lengths', '254 categories', 'byte order mark',
    ],
)  # fmt: skip
def test_values(write, changes, expected):
    assert write(**changes) == 1
    (found,) = maps(write.folder / 'out').items()
    assert found[0] == 'a.png'
    np.testing.assert_array_equal(found[1], expected)


def test_the_smaller_instance_is_in_front_whatever_its_area_says(write):
    large = [[0, 0, 20, 0, 20, 10, 0, 10]]
    write(annotations=[annotation(area=999), annotation(id=2, category_id=7, segmentation=large)])
    expected = np.where(square() > 0, 2, 1)
    np.testing.assert_array_equal(maps(write.folder / 'out')['a.png'], expected)


def test_an_image_without_annotations_is_background(write):
    assert write(images=[image(), image(id=2, file_name='b.jpg')]) == 2
    found = maps(write.folder / 'out')
    assert list(found) == ['a.png', 'b.png']
    assert not found['b.png'].any()


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (dict(without=('segmentation',)), "'segmentation' holds no mask: draw one or remove"),
        (dict(segmentation=[]), "'segmentation' holds no mask"),
        (dict(segmentation=None), "'segmentation' holds no mask"),
        (dict(segmentation=[[1, 1, 5, 5]]), 'must be a list of polygons of at least three points'),
        (dict(segmentation=[[1, 1, 5, 5, 7, 7, 8]]), 'must be a list of polygons'),
        (dict(segmentation=SQUARE[0]), r'polygons .*, \[\[x1, y1, x2, y2, x3, y3'),
        (dict(segmentation=[[1, 1, 5, None, 7, 7]]), 'must be a list of polygons'),
        (dict(segmentation='x'), 'is neither a list of polygons nor run lengths'),
        (dict(segmentation=dict(size=[20, 10], counts=[200])), r'size \[20, 10\], and .* \[10, 20'),
        (dict(segmentation=dict(size=[10, 20], counts=[50, 50])), 'do not add up to 10 x 20'),
        (dict(segmentation=dict(size=[10, 20], counts='zzz')), 'do not add up to 10 x 20'),
        (dict(category_id=99), "no category has the 'category_id' 99: add the category or remove"),
        (dict(category_id='3'), "no category has the 'category_id' '3': write it as .*, 3"),
        (dict(image_id='1'), "no image has the 'image_id' '1': write it as in that entry, 1"),
        (dict(image_id=[1]), r"no image has the 'image_id' \[1\]: add the image"),
        (dict(without=('image_id',)), "no image has the 'image_id' None"),
    ],
)
def test_annotations_that_are_refused(write, changed, message):
    with pytest.raises(ValueError, match=rf'instances\.json.*\s+annotation 1: .*{message}'):
        write(annotations=[annotation(**changed)])
    assert maps(write.folder) == {}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(images=[dict(id=1, file_name='a.jpg')]), "image 1: 'height' is None: add the pixels"),
        (dict(images=[image(width='20')]), "image 1: 'width' is '20'"),
        (dict(images=[image(file_name=None)]), "image 1: 'file_name' is None: name the file"),
        (dict(images=[image(file_name='x/..')]), "image 1: 'x/..' is not the name of a file"),
        (dict(images=[image(), image(file_name='b.jpg')]), "image 1: 'id' occurs twice"),
        (dict(images=[dict(file_name='a.jpg')]), r"images\[0\]: 'id' must be an integer or"),
        (dict(images=['a.jpg']), r"images\[0\]: 'id' must be"),
        (dict(annotations=[annotation(without=('id',))]), r"annotations\[0\]: 'id' must be"),
        (dict(categories=[dict(id=3), dict(id=3)]), "category 3: 'id' occurs twice"),
        (dict(categories=[dict(id=i) for i in range(255)]), 'has 255 categories.*at most 254'),
        (dict(categories=[]), "needs the lists 'images', 'annotations', 'categories'"),
        (dict(images=[]), 'holds no images with annotations in the layout of COCO'),
    ],
)
def test_files_that_are_refused(write, changes, message):
    with pytest.raises(ValueError, match=rf'(?s)instances\.json.*{message}'):
        write(**changes)
    assert maps(write.folder) == {}


def test_all_problems_come_at_once(write):
    with pytest.raises(ValueError) as caught:
        write(annotations=[annotation(id=i, category_id=99) for i in range(9)])
    lines = str(caught.value).splitlines()
    assert [line.split(':')[0] for line in lines[1:6]] == [f'  annotation {i}' for i in range(5)]
    assert lines[6:] == ['  and 4 more']


@pytest.mark.parametrize('content', ['{"images": [', '[1, 2]', '\xff'])
def test_files_of_another_kind(tmp_path, content):
    (tmp_path / 'x.json').write_bytes(content.encode('latin-1'))
    with pytest.raises(ValueError, match=r'x\.json (is not a JSON file|holds no images)'):
        write_segmentation_maps(tmp_path / 'x.json', tmp_path / 'out')
    with pytest.raises(FileNotFoundError, match=r'none\.json'):
        write_segmentation_maps(tmp_path / 'none.json', tmp_path / 'out')


@pytest.mark.parametrize(
    ('file_name', 'expected'),
    [
        ('x/y/a.JPG', 'x/y/a.png'),
        ('images\\a.jpg', 'images/a.png'),
        ('scan.2024.01.05', 'scan.2024.01.05.png'),
        ('a.tif', 'a.png'),
        ('a', 'a.png'),
    ],
)
def test_names_of_maps(file_name, expected):
    assert map_name(file_name) == expected


@pytest.mark.parametrize('leading', ['', '../photos/', 'x/../../photos/', '/'])
def test_photographs_are_never_replaced(write, leading):
    """Whatever the name of an image leads to, its map lies in the output folder."""
    photos = write.folder / 'photos'
    photos.mkdir()
    Image.new('RGB', (20, 10), (200, 100, 50)).save(photos / 'a.png')
    before = (photos / 'a.png').read_bytes()
    prefix = f'{photos}/' if leading == '/' else leading
    assert write(images=[image(file_name=f'{prefix}a.png')]) == 1
    np.testing.assert_array_equal(maps(write.folder / 'out')['a.png'], square())
    # Not even if the output folder is the one that has the photographs.
    with pytest.raises(
        FileExistsError, match=r'photos/a\.png exists and was not written by mmmask'
    ):
        write('photos', images=[image(file_name=f'{prefix}a.png')])
    assert (photos / 'a.png').read_bytes() == before
    assert [path.name for path in photos.iterdir()] == ['a.png']


@pytest.mark.parametrize(
    'names', [('a.jpg', 'a.png'), ('/x/a.jpg', '/y/a.jpg'), ('x/a.jpg', 'x\\a.jpg')]
)
def test_two_images_of_one_map(write, names):
    images = [image(id=i, file_name=name) for i, name in enumerate(names, 1)]
    with pytest.raises(ValueError, match=r'the map of image 1 .* and the map of image 2 .* names'):
        write(images=images)
    assert maps(write.folder) == {}


def test_the_command_runs_again_over_its_own_maps(write):
    write()
    command = [sys.executable, ROOT / 'tools/make_segmentation_maps.py']
    command += [write.folder / 'instances.json', write.folder / 'out']
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert '1 maps are in' in process.stdout
    Image.fromarray(square(5)).save(write.folder / 'out/a.png')  # corrected by hand
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert 'a.png exists and was not written by mmmask, or was edited since' in process.stderr
    np.testing.assert_array_equal(maps(write.folder / 'out')['a.png'], square(5))
