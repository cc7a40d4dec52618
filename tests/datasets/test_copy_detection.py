import numpy as np
import pytest
from PIL import Image

from mmmask.datasets import COPYDAYS_BLOCKS, Copydays, ImageFolder, PartialDuplicates
from mmmask.datasets.copy_detection import partial_duplicate

PIPELINE = [dict(type='mmpretrain.PackInputs')]


def paint(path, color, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size, color).save(path)


@pytest.fixture
def folder(tmp_path):
    """Twelve images, each of its own grey."""
    for number in range(12):
        paint(tmp_path / f'{number:02}.png', (20 * number,) * 3)
    return str(tmp_path)


def grey(sample):
    return round(sample['inputs'].float().mean().item() / 20)


def test_copydays_blocks_and_labels(tmp_path):
    assert len(COPYDAYS_BLOCKS) == 19 and COPYDAYS_BLOCKS[0] == 'strong'
    for name in ('original/200000', 'original/200100', 'strong/200101', 'strong/200103'):
        paint(tmp_path / f'{name}.jpg', (9, 9, 9))
    paint(tmp_path / 'jpegqual/3/200000.jpg', (9, 9, 9))
    labels = {
        block: [
            sample['data_samples'].gt_label.item()
            for sample in Copydays(str(tmp_path), block, pipeline=PIPELINE)
        ]
        for block in ('original', 'strong', 'jpegqual/3')
    }
    assert labels == {'original': [2000, 2001], 'strong': [2001, 2001], 'jpegqual/3': [2000]}


def test_copydays_refuses_other_names(tmp_path):
    with pytest.raises(ValueError, match="block='weak' is not one of .*'original', 'strong'"):
        Copydays(str(tmp_path), 'weak')
    paint(tmp_path / 'strong/holiday.jpg', (9, 9, 9))
    with pytest.raises(ValueError, match=r"'.*strong/holiday' is not a file name of Copydays"):
        Copydays(str(tmp_path), 'strong')


def test_every_query_has_its_original_and_no_background_is_searched(folder):
    options = dict(num_queries=4, seed=1, pipeline=PIPELINE)
    database = PartialDuplicates(folder, 'database', **options)
    queries = PartialDuplicates(folder, 'queries', **options)
    assert [s['data_samples'].gt_label.item() for s in queries] == [0, 1, 2, 3]
    labels = [s['data_samples'].gt_label.item() for s in database]
    assert sorted(labels) == [-1] * 4 + [0, 1, 2, 3]  # twelve but four backgrounds
    shown = {grey(sample) for sample in database}
    backgrounds = {int(queries.get_data_info(i)['background']['name'][:2]) for i in range(4)}
    assert not shown & backgrounds and len(shown | backgrounds) == 12
    originals = {grey(s): s['data_samples'].gt_label.item() for s in database}
    for label in range(4):
        assert originals[int(queries.get_data_info(label)['name'][:2])] == label


def test_queries_repeat_and_follow_the_seed(folder):
    first, again, other = (
        PartialDuplicates(folder, 'queries', num_queries=3, seed=seed, pipeline=PIPELINE)
        for seed in (0, 0, 1)
    )
    for index in (2, 0, 1):
        np.testing.assert_array_equal(first[index]['inputs'], again[index]['inputs'])
    names = [[part.get_data_info(i)['name'] for i in range(3)] for part in (first, other)]
    assert names[0] != names[1]


def test_too_few_images_and_unknown_part(folder):
    with pytest.raises(ValueError, match='num_queries=7 needs twice as many images'):
        PartialDuplicates(folder, 'queries', num_queries=7)
    with pytest.raises(ValueError, match="part='query' is not one of 'queries', 'database'"):
        PartialDuplicates(folder, 'query')


def test_the_pasted_part_covers_what_it_should():
    """A red image on a blue one: the fraction of red is the pasted area, and the rest is blue."""
    red = np.full((120, 160, 3), (0, 0, 230), np.uint8)  # BGR
    blue = np.full((200, 150, 3), (230, 0, 0), np.uint8)
    shares = []
    for seed in range(40):
        image = partial_duplicate(red, blue, np.random.RandomState(seed)).astype(int)
        assert image.shape == blue.shape
        is_red = image[..., 2] > image[..., 0]
        shares.append(is_red.mean())
        assert (image[~is_red][:, 0] > 100).mean() > 0.9
    # 20 to 60 % but for what is as wide as the background already, or is cut at its border
    assert min(shares) > 0.15 and max(shares) < 0.61 and np.ptp(shares) > 0.2


@pytest.mark.parametrize('fraction', [0.25, 1.0, 0.01])
def test_a_fraction_of_each_class(tmp_path, fraction):
    for label, number in (('cat', 8), ('dog', 4)):
        for index in range(number):
            paint(tmp_path / label / f'{index}.png', (index, 0, 0))
    subset = ImageFolder(tmp_path, with_label=True, subset=fraction, pipeline=PIPELINE)
    labels = [sample['data_samples'].gt_label.item() for sample in subset]
    assert np.bincount(labels).tolist() == {0.25: [2, 1], 1.0: [8, 4], 0.01: [1, 1]}[fraction]
    again = ImageFolder(tmp_path, with_label=True, subset=fraction)
    names = [[part.get_data_info(i)['name'] for i in range(len(part))] for part in (subset, again)]
    assert names[0] == names[1]


def test_a_list_of_files(tmp_path):
    for name in ('a/1.png', 'a/2.png', 'b/3.png'):
        paint(tmp_path / 'images' / name, (1, 2, 3))
    (tmp_path / 'list.txt').write_text('3.png\na/1.png\n')
    options = dict(with_label=True, subset=str(tmp_path / 'list.txt'))
    dataset = ImageFolder(tmp_path / 'images', **options)
    assert [dataset.get_data_info(i)['name'] for i in range(len(dataset))] == ['a/1.png', 'b/3.png']
    (tmp_path / 'list.txt').write_text('3.png\nc/4.png\n')
    with pytest.raises(ValueError, match='names 2 files, of which 1 are in'):
        ImageFolder(tmp_path / 'images', **options)
    with pytest.raises(ValueError, match='subset=2 must be a fraction'):
        ImageFolder(tmp_path / 'images', with_label=True, subset=2)
