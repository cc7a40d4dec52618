"""Pictures of features from files: which images, which weights, which duplicates."""

import csv
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
import torch
from conftest import ROOT
from mmengine.config import Config
from PIL import Image
from torch.utils.data import Subset

from mmmask.apis.visualize import build_model
from mmmask.apis.visualize_features import (
    draw_features,
    draw_similar_pairs,
    named_pairs,
    open_images,
    take_some,
    visualize_features,
)
from mmmask.evaluation import find_duplicates
from mmmask.feature_pictures import (
    describe,
    draw_attention,
    draw_embedding,
    draw_neighbours,
    draw_patch_losses,
    draw_principal_components,
)
from mmmask.outputs import MARK
from mmmask.pictures import sample_batch

CONFIG = ROOT / 'configs/demo/mae_vit-tiny_digits.py'


@pytest.fixture(scope='module')
def cfg():
    return Config.fromfile(CONFIG)


@pytest.fixture(scope='module')
def checkpoint(cfg, tmp_path_factory):
    path = tmp_path_factory.mktemp('checkpoint') / 'model.pth'
    torch.save(dict(state_dict=build_model(cfg, seed=3).state_dict()), path)
    return path


@pytest.fixture(scope='module')
def model(cfg, checkpoint):
    return build_model(cfg, checkpoint)


@pytest.fixture(scope='module')
def textures(tmp_path_factory):
    """Ten pieces of two textures in a folder each, and a compressed copy of one piece."""
    root, random = tmp_path_factory.mktemp('textures'), np.random.default_rng(0)
    for name in ('brick', 'gravel'):
        (root / name).mkdir()
        photograph = getattr(skimage.data, name)()
        for number in range(10):
            y, x = random.integers(0, 512 - 96, 2)
            Image.fromarray(photograph[y : y + 96, x : x + 96]).save(root / name / f'{number}.png')
    Image.open(root / 'brick' / '4.png').save(root / 'gravel' / 'copy.jpg', quality=95)
    return root


def test_folders_are_labels(cfg, textures):
    dataset = open_images(cfg, [textures])
    assert dataset.metainfo['classes'] == ['brick', 'gravel']
    assert [dataset[index]['data_samples'].gt_label.item() for index in (0, 10, 20)] == [0, 1, 1]
    assert 'gt_label' not in open_images(cfg, [textures / 'brick'])[0]['data_samples']
    files = [textures / 'brick/0.png', textures / 'gravel/1.png']
    assert [sample['inputs'].shape for sample in open_images(cfg, files)] == [(3, 64, 64)] * 2
    assert torch.equal(open_images(cfg, files)[0]['inputs'], dataset[0]['inputs'])


def test_some_images_at_equal_distances(cfg, textures):
    dataset = open_images(cfg, [textures])
    assert take_some(dataset, 21) is dataset
    assert take_some(dataset, 3).indices == [0, 10, 20]


def test_the_planted_duplicate_is_found_first(cfg, checkpoint, model, textures, tmp_path):
    out = visualize_features(
        CONFIG, checkpoint, 'duplicates', [textures], tmp_path / 'pairs.png', 3
    )
    assert out == tmp_path / 'pairs.png'
    with (tmp_path / 'pairs.csv').open() as file:
        header, *rows = csv.reader(file)
    assert header == ['similarity', 'first', 'second', MARK]
    assert rows[0][1:] == [str(textures / 'brick/4.png'), str(textures / 'gravel/copy.jpg')]
    assert float(rows[0][0]) > 0.99
    images = describe(model, open_images(cfg, [textures]))
    pairs = list(named_pairs(images))
    assert len(rows) == sum(pair.similarity >= 0.99 for pair in pairs) < len(pairs)
    similarities = [pair.similarity for pair in pairs]
    assert similarities == sorted(similarities, reverse=True)
    assert pairs[0].indices == [4, 20]
    # Three pairs in a row, with two panels each.
    assert 6 * 256 < Image.open(out).size[0] < 7 * 256


def test_a_list_of_the_user_is_kept(checkpoint, textures, tmp_path):
    (tmp_path / 'pairs.csv').write_text('mine')
    with pytest.raises(FileExistsError, match='pairs.csv exists and was not written by mmmask'):
        visualize_features(CONFIG, checkpoint, 'duplicates', [textures], tmp_path / 'pairs.png')
    assert (tmp_path / 'pairs.csv').read_text() == 'mine'


def test_an_unreadable_image_is_no_duplicate(cfg, model, tmp_path):
    """In its place, the data set returns another image."""
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f'{number}.png')
    (tmp_path / '3.png').write_bytes(b'no image')
    images = describe(model, open_images(cfg, [tmp_path]))
    (pair,) = find_duplicates(images.features)
    assert pair[1:] == (3, 4)
    assert list(named_pairs(images)) == []


@pytest.mark.parametrize('kind', ['pca', 'attention', 'loss'])
def test_kinds_of_a_batch(kind, model, cfg, textures):
    dataset = open_images(cfg, [textures])
    draw = dict(
        pca=draw_principal_components,
        attention=draw_attention,
        loss=lambda *batch: draw_patch_losses(*batch, 7),
    )[kind]
    expected = draw(model, sample_batch(dataset, 2))
    np.testing.assert_array_equal(draw_features(model, dataset, kind, 2, seed=7), expected)


@pytest.mark.parametrize('kind', ['neighbours', 'tsne', 'duplicates'])
def test_kinds_of_a_data_set(kind, model, cfg, textures):
    dataset = open_images(cfg, [textures])
    images = describe(model, dataset)
    expected = dict(
        neighbours=lambda: draw_neighbours(images, images, 3),
        tsne=lambda: draw_embedding(images, ['brick', 'gravel'], 7),
        duplicates=lambda: draw_similar_pairs(images, 3)[0],
    )[kind]()
    np.testing.assert_array_equal(draw_features(model, dataset, kind, 3, seed=7), expected)


def test_features_can_be_shared(model, cfg, textures):
    """What is given is drawn, here the features of the first class."""
    dataset = open_images(cfg, [textures])
    bricks = describe(model, Subset(dataset, range(10)))
    picture = draw_features(model, dataset, 'neighbours', 3, described=bricks)
    np.testing.assert_array_equal(picture, draw_neighbours(bricks, bricks, 3))
    assert (picture != draw_features(model, dataset, 'neighbours', 3)).any()


def test_pairs_are_read_as_far_as_they_are_drawn(model, cfg, textures):
    class Counting:
        def __getitem__(self, index):
            read.add(index)
            return dataset[index]

    read, dataset = set(), open_images(cfg, [textures])
    images = describe(model, dataset)
    expected = list(named_pairs(images))
    images = images._replace(dataset=Counting())
    few, duplicates = draw_similar_pairs(images, 1)
    assert duplicates == [pair for pair in expected if pair.similarity >= 0.99]
    reached = expected[: len(duplicates) + 1]
    assert read == {index for pair in reached for index in pair.indices} < set(range(21))
    many, same = draw_similar_pairs(images, len(duplicates) + 3)
    assert same == duplicates and many.shape[0] > few.shape[0]


def test_a_single_image_has_no_duplicate(model, cfg, textures):
    dataset = open_images(cfg, [textures / 'brick/0.png'])
    with pytest.raises(ValueError, match='no two images have similar features: give more'):
        draw_features(model, dataset, 'duplicates')


def test_pretrained_weights_and_checkpoints_give_the_same_picture(checkpoint, textures, tmp_path):
    def draw(**weights):
        out = visualize_features(CONFIG, images=[textures], out=path, num_images=2, **weights)
        return np.asarray(Image.open(out))

    path, pretrained = tmp_path / 'new' / 'x.png', str(checkpoint)
    picture = draw(checkpoint=checkpoint)
    np.testing.assert_array_equal(draw(pretrained=pretrained), picture)
    assert (draw() != picture).any()  # initial weights
    with pytest.raises(ValueError, match='--features loss needs the decoder too'):
        draw(kind='loss', pretrained=pretrained)


def test_unknown_kind(checkpoint):
    with pytest.raises(ValueError, match="features='umap' is not one of .*'tsne'"):
        visualize_features(CONFIG, checkpoint, 'umap')


def test_command_line(checkpoint, textures, tmp_path):
    def run(*options):
        command = [sys.executable, ROOT / 'tools/visualize.py', CONFIG, *options]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    out = tmp_path / 'pca.png'
    process = run(
        *('--features', 'pca', '--pretrained', checkpoint, '--images', textures, '--out', out)
    )
    assert process.returncode == 0, process.stderr
    assert f'The picture is in {out}' in process.stdout and out.exists()
    for options, message in (
        ((checkpoint, '--features', 'umap'), "features='umap' is not one of"),
        ((checkpoint, '--features', 'pca', '--boxes'), 'choose one of'),
        ((checkpoint, '--pretrained', 'x.pth'), '--pretrained gives the weights of --features'),
        ((checkpoint, '--pretrained', 'x', '--features', 'pca'), 'a checkpoint or --pretrained'),
    ):
        process = run(*options)
        assert process.returncode == 2 and message in process.stderr, process.stderr
