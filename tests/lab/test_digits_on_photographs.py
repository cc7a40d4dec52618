import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from pycocotools.coco import COCO

from mmmask.datasets.digits import load_digits
from mmmask.lab.digits_on_photographs import (
    PHOTOGRAPHS,
    Scene,
    annotation,
    compose,
    load_photographs,
    make_digits_on_photographs,
    resize_glyph,
    segmentation_map,
)

NUM = dict(train=6, val=4)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp('data') / 'digits'
    make_digits_on_photographs(out, NUM['train'], NUM['val'], size=96, seed=3)
    return out


def test_annotation_of_a_mask_by_hand():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 1] = mask[2, 3] = True  # columns one after the other: 5 off, 2 on, 7 off, 1 on, 5 off
    assert annotation(mask) == dict(
        bbox=[1, 1, 3, 2],
        area=3,
        segmentation=dict(size=[4, 5], counts=[5, 2, 7, 1, 5]),
        iscrowd=0,
    )
    mask[0, 0] = mask[3, 4] = True  # begins with no background and ends with the object
    assert annotation(mask)['segmentation']['counts'] == [0, 1, 4, 2, 7, 1, 4, 1]
    assert annotation(mask)['bbox'] == [0, 0, 5, 4]


def test_glyph_is_cropped_tightly_and_scaled():
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 10:15] = 255
    glyph = resize_glyph(digit, 40)
    assert glyph.shape == (40, 10)
    np.testing.assert_allclose(glyph, 1)


def test_digits_overlap_but_stay_mostly_visible():
    digits, labels = load_digits()
    background = np.full((64, 64, 3), 90, np.uint8)
    for seed in range(20):
        scene = compose(background, digits, labels, np.random.RandomState(seed))
        assert scene.masks.sum(0).max(initial=0) <= 1
        painted = np.abs(scene.image.astype(int) - 90).max(-1)
        on_digits = painted[scene.masks.any(0)]
        assert not on_digits.size or (on_digits > 20).mean() > 0.98  # all are visible
        assert len(scene.labels) == len(scene.masks) <= 6


def test_segmentation_map_by_hand():
    masks = np.zeros((2, 2, 2), bool)
    masks[0, 0, 0] = masks[1, 1, :] = True
    scene = Scene(np.zeros((2, 2, 3), np.uint8), [0, 9], masks)
    np.testing.assert_array_equal(segmentation_map(scene), [[1, 0], [10, 10]])


@pytest.mark.parametrize('part', ['train', 'val'])
def test_boxes_areas_and_maps_agree_with_the_masks(folder, part):
    coco = COCO(folder / f'annotations/instances_{part}.json')
    assert [coco.cats[i]['name'] for i in sorted(coco.cats)] == list('0123456789')
    assert sorted(coco.cats) == list(range(1, 11)) and len(coco.imgs) == NUM[part]
    assert coco.anns
    for image_id, info in coco.imgs.items():
        image = np.asarray(Image.open(folder / part / info['file_name']))
        assert image.shape == (info['height'], info['width'], 3) == (96, 96, 3)
        found = Image.open(folder / f'segmentation/{part}' / f'{image_id:06}.png')
        expected = np.zeros((96, 96), np.uint8)
        for number in coco.getAnnIds(image_id):
            entry = coco.anns[number]
            mask = coco.annToMask(entry).astype(bool)
            rows, columns = np.nonzero(mask)
            assert entry['bbox'] == [
                columns.min(),
                rows.min(),
                np.ptp(columns) + 1,
                np.ptp(rows) + 1,
            ]
            assert entry['area'] == mask.sum() > 0 and entry['iscrowd'] == 0
            assert not expected[mask].any()  # no pixel belongs to two digits
            expected[mask] = entry['category_id']
        assert found.mode == 'L'
        np.testing.assert_array_equal(np.asarray(found), expected)
        foreground = Image.open(folder / f'foreground/{part}' / f'{image_id:06}.png')
        np.testing.assert_array_equal(np.asarray(foreground), expected > 0)


def test_the_label_is_that_of_the_pasted_digit():
    """The nearest neighbour of the mask among the digits has the label of the pasted one."""
    digits, labels = load_digits()
    keep = np.arange(0, 5000, 100)
    glyphs = [resize_glyph(digits[i], 32) >= 0.5 for i in keep]
    known = 0
    for seed in range(10):
        random = np.random.RandomState(seed)
        scene = compose(np.zeros((80, 80, 3), np.uint8), digits[keep], labels[keep], random)
        for label, mask in zip(scene.labels, scene.masks, strict=True):
            x, y, width, height = annotation(mask)['bbox']
            crop = Image.fromarray(mask[y : y + height, x : x + width])
            scores = [
                (np.asarray(crop.resize(glyph.shape[::-1])) == glyph).mean() for glyph in glyphs
            ]
            known += labels[keep][np.argmax(scores)] == label
            known -= labels[keep][np.argmax(scores)] != label
    assert known > 15


def test_train_and_val_share_no_photographs():
    assert not set(PHOTOGRAPHS['train']) & set(PHOTOGRAPHS['val'])
    # the motorcycle pair counts as two
    assert [len(load_photographs(part)) for part in ('train', 'val')] == [7, 5]


def test_same_files_again_and_more_of_them(folder, tmp_path):
    make_digits_on_photographs(tmp_path / 'a', NUM['train'], NUM['val'] + 1, size=96, seed=3)
    for path in [*folder.rglob('*.jpg'), folder / 'annotations/instances_train.json']:
        assert path.read_bytes() == (tmp_path / 'a' / path.relative_to(folder)).read_bytes()
    more = json.loads((tmp_path / 'a/annotations/instances_val.json').read_text())
    fewer = json.loads((folder / 'annotations/instances_val.json').read_text())
    assert more['annotations'][: len(fewer['annotations'])] == fewer['annotations']
    make_digits_on_photographs(tmp_path / 'b', 1, 1, size=96, seed=4)
    first = 'train/000000.jpg'
    assert (tmp_path / 'b' / first).read_bytes() != (folder / first).read_bytes()


def test_command_line_and_refusals(folder, tmp_path):
    def run(*arguments):
        command = [sys.executable, 'tools/make_digits_on_photographs.py', *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    done = run(tmp_path / 'c', '--train', '1', '--val', '2', '--size', '64')
    assert done.returncode == 0 and 'writing train images' in done.stdout
    assert Image.open(tmp_path / 'c/preview.png').size == (2 * 256, 2 * 256)
    again = run(folder)
    assert again.returncode == 1 and 'holds annotations already' in again.stderr
    with pytest.raises(ValueError, match='size=16, .* at least 32 px'):
        make_digits_on_photographs(tmp_path / 'd', size=16)


@pytest.mark.parametrize('name', ['train/000000.jpg', 'foreground/val/000001.png', 'preview.png'])
def test_files_of_the_user_are_kept(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b'a photograph')
    with pytest.raises(FileExistsError, match=f'{name} exists and was not written by mmmask'):
        make_digits_on_photographs(tmp_path, 2, 2, size=64)
    files = [path for path in tmp_path.rglob('*') if path.is_file()]
    assert files == [tmp_path / name] and files[0].read_bytes() == b'a photograph'
