"""Label maps as people have them become class numbers, or a sentence."""

import numpy as np
import pytest
from PIL import Image

from mmmask.datasets import LabelMapFolder, LoadLabelMap, held_out
from mmmask.datasets.label_maps import find_values, pair_label_maps, read_table

LABELS = np.array([[0, 1], [1, 2]], np.uint8)


def save(path, array, mode=None):
    Image.fromarray(array, mode).save(path)
    return str(path)


def load(path, table, shape=(2, 2)):
    return LoadLabelMap(table)(dict(seg_map_path=str(path), ori_shape=shape))


def palette(path):
    image = Image.fromarray(LABELS)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    image.save(path)


COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)[LABELS]
OPAQUE = np.full((2, 2), 255, np.uint8)
NUMBERS = [[0, 0], [1, 1], [2, 255]]
BY_COLOUR = [[0, 0, 0, 0], [255, 0, 0, 1], [0, 0, 255, 255]]


@pytest.mark.parametrize(
    ('write', 'table'),
    [
        (lambda path: save(path, LABELS), NUMBERS),
        (lambda path: save(path, LABELS.astype(np.uint16)), NUMBERS),
        (lambda path: save(path, np.dstack([LABELS] * 3)), NUMBERS),
        (lambda path: save(path, np.dstack([LABELS, OPAQUE])), NUMBERS),
        (palette, NUMBERS),
        (palette, BY_COLOUR),
        (lambda path: save(path, COLOURS), BY_COLOUR),
        (lambda path: save(path, np.dstack([COLOURS, OPAQUE])), BY_COLOUR),
    ],
    ids=['index', '16 bit', 'grey as RGB', 'grey, alpha', 'palette', 'its colours', 'RGB', 'RGBA'],
)
def test_index_palette_and_colour(write, table, tmp_path):
    write(tmp_path / 'a.png')
    results = load(tmp_path / 'a.png', table)
    assert results['gt_seg_map'].tolist() == [[0, 1], [1, 255]]
    assert results['gt_seg_map'].dtype == np.uint8 and results['seg_fields'] == ['gt_seg_map']


@pytest.mark.parametrize(
    ('array', 'table', 'shape', 'sentence'),
    [
        (LABELS + 5, NUMBERS, (2, 2), 'a.png contains the values 5, 6, 7, which no class has'),
        (COLOURS, [[0, 0, 0, 0], [255, 0, 0, 1]], (2, 2), 'the colour 0 0 255, which no class'),
        (COLOURS, NUMBERS, (2, 2), 'is in colour: name the class of each colour'),
        (LABELS, NUMBERS, (4, 2), r'has \(2, 2\) pixels and its image \(4, 2\)'),
        (np.dstack([LABELS, OPAQUE // 2]), NUMBERS, (2, 2), 'partly transparent'),
    ],
)
def test_what_cannot_be_read_is_named(array, table, shape, sentence, tmp_path):
    path = save(tmp_path / 'a.png', array)
    with pytest.raises(ValueError, match=sentence):
        load(path, table, shape)


def test_a_table_names_classes_and_what_to_ignore(tmp_path):
    (tmp_path / 'a.txt').write_text('# my classes\n0 background\n3 red car\n4 red car\n9 ignore\n')
    names, table = read_table(tmp_path / 'a.txt')
    assert names == ['background', 'red car']
    assert table == [[0, 0], [3, 1], [4, 1], [9, 255]]
    (tmp_path / 'b.txt').write_text('0,0,0 void\n128 0 0 tree\n')
    assert read_table(tmp_path / 'b.txt') == (['void', 'tree'], [[0, 0, 0, 0], [128, 0, 0, 1]])
    for text in ('0 a\n0 0 0 b', 'background', '0 1 a', '0 a\n0 b'):
        (tmp_path / 'c.txt').write_text(text)
        with pytest.raises(ValueError, match=r'c\.txt:\d: '):
            read_table(tmp_path / 'c.txt')


def test_classes_without_a_table(tmp_path):
    good = save(tmp_path / 'good.png', np.array([[0, 1], [255, 1]], np.uint8))
    assert find_values([good]) == (['0', '1'], [[0, 0], [1, 1], [255, 255]])
    with pytest.raises(ValueError, match=r'only 0 and 255.*"0 background" and "255 object"'):
        find_values([save(tmp_path / 'b.png', np.array([[0, 255]], np.uint8))])
    with pytest.raises(ValueError, match=r'contain the values 0, 1, 7, and without a table'):
        find_values([good, save(tmp_path / 'c.png', np.array([[0, 7], [1, 1]], np.uint8))][1:])


@pytest.fixture
def folders(tmp_path):
    for name in ('images/x', 'labels/x'):
        (tmp_path / name).mkdir(parents=True)
    for number in range(10):
        Image.new('RGB', (2, 2)).save(tmp_path / f'images/x/{number}.JPG', 'JPEG')
        save(tmp_path / f'labels/x/{number}.png', LABELS)
    return tmp_path / 'images', tmp_path / 'labels'


def test_pairs_are_found_whatever_the_ending(folders):
    pairs = pair_label_maps(*folders)
    assert list(pairs) == [f'x/{number}' for number in range(10)]
    assert pairs['x/3'] == (str(folders[0] / 'x/3.JPG'), str(folders[1] / 'x/3.png'))
    train, val = (
        {sample['img_path'] for sample in LabelMapFolder(*folders, part=part, serialize_data=False)}
        for part in ('train', 'val')
    )
    assert len(train) == 8 and len(val) == 2 and not train & val
    assert val == {pairs[name][0] for name in held_out(pairs)}


def test_an_image_without_a_map_and_a_missing_folder(folders):
    (folders[1] / 'x/4.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 10 images .* such as .*4\.JPG'):
        pair_label_maps(*folders)
    with pytest.raises(FileNotFoundError, match='nowhere is not a folder'):
        pair_label_maps(folders[0], folders[1] / 'nowhere')


def test_the_held_out_fifth_depends_on_names_alone():
    names = [f'{number}.jpg' for number in range(100)]
    assert len(held_out(names)) == 20 and held_out(names) == held_out(reversed(names))
    assert len(held_out(names[:2])) == 1 and held_out(names[:1]) == set()
