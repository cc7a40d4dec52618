"""Pascal VOC and YOLO become COCO JSON, value by value."""

import json

import pytest
from PIL import Image

from mmmask.datasets.coco import read_objects
from mmmask.lab.annotations import write_coco

VOC = """<annotation><size><width>40</width><height>20</height></size>
<object><name>dog</name><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>5</ymax></bndbox></object>
<object><name>cat</name><difficult>1</difficult>
<bndbox><xmin>31</xmin><ymin>11</ymin><xmax>45</xmax><ymax>20</ymax></bndbox></object>
</annotation>"""


@pytest.fixture
def folder(tmp_path):
    for name in ('images', 'labels'):
        (tmp_path / name).mkdir()
    for name in ('a.jpg', 'b.jpg'):
        Image.new('RGB', (40, 20)).save(tmp_path / 'images' / name)
    (tmp_path / 'names.txt').write_text('cat\ndog\n')
    return tmp_path


def convert(folder, text, ending, **options):
    (folder / 'labels' / f'a{ending}').write_text(text)
    return write_coco(folder / 'labels', folder / 'images', folder / 'all.json', **options)


def test_voc(folder):
    """Pixels 1 to 10 are x = 0 and width 10; what leaves the image is cut; no objects in b."""
    content = convert(folder, VOC, '.xml')
    assert [one['name'] for one in content['categories']] == ['cat', 'dog']
    assert content['images'][1] == dict(id=2, file_name='b.jpg', width=40, height=20)
    dog, cat = content['annotations']
    assert dog == dict(
        id=1, image_id=1, category_id=2, bbox=[0, 0, 10, 5], area=50, iscrowd=0
    )  # fmt: skip
    assert (cat['bbox'], cat['area'], cat['iscrowd']) == ([30, 10, 10, 10], 100, 1)
    assert json.loads((folder / 'all.json').read_text()) == content
    assert read_objects(folder / 'all.json') == (content, False)


def test_yolo(folder):
    content = convert(folder, '1 0.25 0.5 0.5 0.4\n', '.txt', classes=folder / 'names.txt')
    (one,) = content['annotations']
    assert one['bbox'] == pytest.approx([0, 6, 20, 8]) and one['category_id'] == 2
    (folder / 'data.yaml').write_text('names: {0: cat, 1: dog}\n')
    text = '0 0 0 0.5 0 0.5 0.5\n'
    content = convert(folder, text, '.txt', classes=folder / 'data.yaml')  # its own file again
    (one,) = content['annotations']
    assert one['segmentation'] == [[0, 0, 20, 0, 20, 10]] and one['bbox'] == [0, 0, 20, 10]
    assert read_objects(folder / 'all.json')[1]


@pytest.mark.parametrize(
    ('text', 'ending', 'sentence'),
    [
        ('0 0.5 0.5 0.2', '.txt', r'a\.txt:1: .* is neither "CLASS X Y WIDTH HEIGHT" nor'),
        ('5 0.5 0.5 0.2 0.2', '.txt', 'class 5 is not among the 2 names'),
        ('0 10 10 20 20', '.txt', 'fractions of the image'),
        (VOC.replace('<xmax>10<', '<xmax><'), '.xml', 'object 1 needs name and bndbox'),
        (VOC.replace('>40<', '>80<'), '.xml', '80 x 20 pixels, but the image has 40 x 20'),
        (VOC.replace('dog', 'emu'), '.xml', "class 'emu' is not in"),
        ('<a>', '.xml', 'is not XML'),
    ],
)
def test_what_cannot_be_read_is_refused(text, ending, sentence, folder):
    with pytest.raises(ValueError, match=sentence):
        convert(folder, text, ending, classes=folder / 'names.txt')
    assert not (folder / 'all.json').exists()


def test_files_of_others_and_missing_images(folder):
    (folder / 'all.json').write_text('{}')
    with pytest.raises(FileExistsError, match='was not written by mmmask'):
        convert(folder, VOC, '.xml')
    (folder / 'all.json').unlink()
    (folder / 'labels/c.xml').write_text(VOC)
    with pytest.raises(ValueError, match=r'c\.xml: there is no image'):
        convert(folder, VOC, '.xml')
    (folder / 'labels/d.txt').write_text('0 0.5 0.5 0.2 0.2')
    with pytest.raises(ValueError, match=r'contains 2 \.xml and 1 \.txt files'):
        convert(folder, VOC, '.xml')
