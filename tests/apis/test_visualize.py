import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from conftest import DEMOS
from mmengine.config import Config
from PIL import Image

from mmmask.apis.config_checks import first_image_size
from mmmask.apis.visualize import (
    SCHEDULE,
    build_model,
    find_refresh_hook,
    load_images,
    plain_pipeline,
    visualize,
    visualize_boxes,
    visualize_masks,
    write_picture,
)
from mmmask.checkpoints import CheckpointError
from mmmask.pictures import BoxStage, draw_box_stages, draw_mask_samples, reconstruct_and_draw
from mmmask.visualization import HIDDEN_PATCH, OUTLINES, PREDICTED_PATCH

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs' / 'demo' / 'localmim_vit-tiny_digits.py'
BOXES = ROOT / 'configs' / 'demo' / 'cmae-mao_vit-tiny_digits.py'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('checkpoint') / 'model.pth'
    torch.save(dict(state_dict=build_model(Config.fromfile(CONFIG), seed=3).state_dict()), path)
    return path


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / 'photographs'
    folder.mkdir()
    Image.fromarray(skimage.data.astronaut()).resize((120, 90)).save(folder / 'a.png')
    Image.fromarray(skimage.data.coffee()).save(folder / 'b.jpg', quality=95)
    return folder


def test_weights_are_the_checkpoint(checkpoint):
    cfg = Config.fromfile(CONFIG)
    model, other = build_model(cfg, checkpoint), build_model(cfg, seed=4)
    tensors = torch.load(checkpoint)['state_dict']
    assert all(torch.equal(value, tensors[name]) for name, value in model.state_dict().items())
    assert not torch.equal(model.backbone.cls_token, other.backbone.cls_token)


def test_plain_pipeline_takes_the_middle(photographs):
    batch = load_images([photographs], plain_pipeline((64, 64)), 8)
    astronaut = Image.open(photographs / 'a.png').resize((85, 64), Image.BICUBIC)
    expected = np.asarray(astronaut)[:, 10:74]
    assert batch['inputs'].shape == (2, 3, 64, 64)
    np.testing.assert_array_equal(batch['inputs'][0].flip(0).permute(1, 2, 0), expected)


def test_folder_and_files_agree(photographs):
    pipeline = plain_pipeline((64, 64))
    files = [photographs / 'a.png', photographs / 'b.jpg']
    folder, listed = load_images([photographs], pipeline, 8), load_images(files, pipeline, 8)
    assert torch.equal(folder['inputs'], listed['inputs'])


def test_picture(checkpoint, photographs, tmp_path):
    out = visualize(CONFIG, checkpoint, [photographs], tmp_path / 'new' / 'x.png', seed=5)
    model = build_model(Config.fromfile(CONFIG), checkpoint)
    batch = load_images([photographs], plain_pipeline((64, 64)), 8)
    np.testing.assert_array_equal(
        np.asarray(Image.open(out)), reconstruct_and_draw(model, batch, 5)
    )


@pytest.mark.parametrize(
    ('config', 'panels'),
    [
        ('mae_vit-tiny_digits', {48: 4}),
        ('simmim_vit-tiny_digits', {40: 4}),
        ('data2vec2_vit-tiny_digits', {48: 4}),
        ('crossmae_vit-tiny_digits', {32: 4}),  # 16 of 48 hidden patches are predicted
        ('localmim_swin-tiny_digits', {49: 4}),
        ('epm_vit-tiny_digits', {48: 5}),
        # Two groups at each level: 48 of 64, 8 of 16 and 2 of 4 positions are hidden.
        ('maskdeep_resnet-tiny_digits', {48: 2, 32: 4}),
    ],
)
def test_masks_before_a_training(config, panels, photographs, tmp_path):
    """Without a checkpoint: panels of 256 px, grey where one of 64 patches is hidden."""
    path = ROOT / 'configs' / 'demo' / f'{config}.py'
    out = visualize_masks(path, images=[photographs], out=tmp_path / 'masks.png')
    grey = (np.asarray(Image.open(out)) == HIDDEN_PATCH).all(axis=-1).sum()
    expected = 2 * 32**2 * sum(hidden * number for hidden, number in panels.items())
    assert grey == pytest.approx(expected, abs=50)  # pixels of the images can have this colour


def maps_of_masks(model) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Filled when masks are drawn: (B, h, w) hidden and predicted ones, and number of blocks.

    Where all hidden patches are predicted together, there are no blocks and no predicted patches.
    """
    maps = []

    def record(images):
        mask = draw_mask(images)
        blocks = 0 if mask.ids_predict is None else mask.ids_predict.shape[1]
        pair = mask.hidden, mask.predicted & (blocks > 0)
        maps.append((*(one.unflatten(1, mask.grid).numpy() for one in pair), blocks))
        return mask

    def record_groups(images):
        features = predict(images)
        for grid, groups in zip(features.grids, features.groups, strict=True):
            for kept in groups.unbind(1):
                hidden = np.ones((len(kept), grid[0] * grid[1]), bool)
                np.put_along_axis(hidden, kept.numpy(), False, axis=1)
                hidden = hidden.reshape(-1, *grid)
                maps.append((hidden, np.zeros_like(hidden), 0))
        return features

    if hasattr(model, 'draw_mask'):
        draw_mask, model.draw_mask = model.draw_mask, record
    else:
        predict, model.predict = model.predict, record_groups
    return maps


@pytest.mark.parametrize('config', DEMOS, ids=lambda path: path.stem)
def test_masks_of_every_method(config, photographs):
    """Each patch shows the image, or is grey if it is hidden, or orange if a part is predicted."""
    for path in photographs.iterdir():
        dark = Image.open(path).point(lambda value: 30 + value // 8)  # no colour of the drawing
        dark.save(path.with_suffix('.png'))
        if path.suffix != '.png':
            path.unlink()
    cfg = Config.fromfile(config)
    model = build_model(cfg)
    maps = maps_of_masks(model)
    batch = load_images([photographs], plain_pipeline(first_image_size(cfg)), 2)
    sheet = draw_mask_samples(model, batch, 0, SCHEDULE)

    is_panel = (sheet != 255).any(axis=-1)
    tops = np.flatnonzero(is_panel[1:, 30] & ~is_panel[:-1, 30])[:2] + 1
    lefts = np.flatnonzero(is_panel[tops[0], 1:] & ~is_panel[tops[0], :-1]) + 1
    assert len(lefts) == 1 + len(maps)
    for row, top in enumerate(tops):
        image, *masks = (sheet[top : top + 256, left : left + 256] for left in lefts)
        assert image.max() < 80
        for panel, (hidden, orange, blocks) in zip(masks, maps, strict=True):
            side = 256 // hidden.shape[1]
            hidden, orange = (one[row].repeat(side, 0).repeat(side, 1) for one in (hidden, orange))
            expected = np.where(hidden[..., None], HIDDEN_PATCH, image)
            expected[orange] = PREDICTED_PATCH
            lines = (panel != expected).any(axis=-1)
            colors = {tuple(pixel) for pixel in panel[lines].tolist()}
            assert colors == set(OUTLINES[:blocks] if blocks > 1 else ())
            assert orange[lines].all() and not orange[~hidden].any()
            assert 0 < hidden.mean() < 1 and orange.any() == (blocks > 0)


def test_masks_follow_the_seed_and_the_weights(photographs, tmp_path):
    def draw(config, checkpoint=None, **options):
        path = ROOT / 'configs' / 'demo' / f'{config}_vit-tiny_digits.py'
        out = visualize_masks(path, checkpoint, [photographs], tmp_path / 'x.png', **options)
        return np.asarray(Image.open(out))

    first, again, other = draw('mae'), draw('mae'), draw('mae', seed=1)
    assert (first == again).all()
    assert (first != other).any()
    model = build_model(Config.fromfile(ROOT / 'configs/demo/ehm_vit-tiny_digits.py'), seed=7)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'ehm.pth')
    assert (draw('ehm') != draw('ehm', tmp_path / 'ehm.pth')).any()


def test_a_method_that_hides_nothing_has_no_masks(photographs):
    config = ROOT / 'configs/demo/ladder/maskdeep-m0_resnet-18_tiny-imagenet.py'
    with pytest.raises(ValueError, match='MaskDeep hides nothing: model.masking is not set'):
        visualize_masks(config, images=[photographs])


def test_boxes_of_whole_images_in_the_order_of_epochs(photographs, tmp_path):
    """Squashed, not cut: the picture of what the hook of the config finds."""
    cfg = Config.fromfile(BOXES)
    paths = []
    for epoch, seed in ((8, 1), (4, 2)):
        paths.append(tmp_path / f'epoch_{epoch}.pth')
        weights = build_model(cfg, seed=seed).state_dict()
        torch.save(dict(state_dict=weights, meta=dict(epoch=epoch)), paths[-1])
    out = visualize_boxes(BOXES, paths, [photographs], tmp_path / 'boxes.png', 2)

    squash = [
        dict(type='mmpretrain.Resize', scale=64, backend='pillow', interpolation='bicubic'),
        dict(type='mmpretrain.PackInputs'),
    ]
    batch = load_images([photographs], squash, 2)
    astronaut = Image.open(photographs / 'a.png').resize((64, 64), Image.BICUBIC)
    np.testing.assert_array_equal(batch['inputs'][0].flip(0).permute(1, 2, 0), astronaut)
    hook, stages = find_refresh_hook(cfg), []
    for path in reversed(paths):
        model = build_model(cfg, path)
        with torch.no_grad():
            stages.append(BoxStage(path.stem.replace('_', ' '), *hook.find(model, batch)))
    expected = draw_box_stages(model, batch, stages)
    np.testing.assert_array_equal(np.asarray(Image.open(out)), expected)
    assert not torch.equal(stages[0].heat_maps, stages[1].heat_maps)

    cfg.merge_from_dict({'custom_hooks.0.heat_map': 'feat_norm'})
    other = np.asarray(Image.open(visualize_boxes(cfg, paths, [photographs], out, 2)))
    assert other.shape != expected.shape or (other != expected).any()


def test_boxes_need_a_hook_that_finds_them(checkpoint):
    with pytest.raises(ValueError, match='localmim_vit-tiny_digits.py finds no boxes: .*Refresh'):
        visualize_boxes(CONFIG, [checkpoint])


def test_errors(checkpoint, tmp_path):
    (tmp_path / 'a.png').write_bytes(b'words')
    with pytest.raises(ValueError, match='a.png is not a readable image'):
        visualize(CONFIG, checkpoint, [tmp_path / 'a.png'])
    with pytest.raises(FileNotFoundError, match='missing.png'):
        visualize(CONFIG, checkpoint, [tmp_path / 'missing.png'])
    tensors = torch.load(checkpoint)['state_dict']
    backbone = {name: value for name, value in tensors.items() if name.startswith('backbone.')}
    torch.save(backbone, tmp_path / 'backbone.pth')
    with pytest.raises(CheckpointError, match="lacks .* such as .'neck.*the config"):
        visualize(CONFIG, tmp_path / 'backbone.pth')


def test_methods_without_a_picture_say_so(tmp_path):
    config = ROOT / 'configs' / 'demo' / 'maskdeep_resnet-tiny_digits.py'
    model = build_model(Config.fromfile(config))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    with pytest.raises(ValueError, match='MaskDeep in .* predicts embeddings'):
        visualize(config, tmp_path / 'model.pth')


def test_command_line(checkpoint, tmp_path):
    out = tmp_path / 'digits.png'
    command = [sys.executable, ROOT / 'tools' / 'visualize.py', CONFIG, checkpoint]
    run = subprocess.run(
        [*command, '--out', out, '--num-images', '2'], capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
    assert f'The picture is in {out}' in run.stdout
    assert Image.open(out).size[0] > 2000

    masks = [*command[:-1], '--masks', '--num-images', '2', '--out', tmp_path / 'masks.png']
    run = subprocess.run(masks, capture_output=True, text=True, cwd=ROOT)
    assert f'The picture is in {tmp_path / "masks.png"}' in run.stdout, run.stderr
    run = subprocess.run(command[:-1], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 2
    assert 'give a checkpoint, or --masks' in run.stderr

    run = subprocess.run([*command[:-1], 'none.pth'], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 2
    assert 'none.pth' in run.stderr
    assert 'Traceback' not in run.stderr


@pytest.mark.parametrize('name', ['photo.png', 'photo.jpg'])
def test_a_picture_of_the_user_is_not_replaced(name, tmp_path):
    picture, photo = np.full((8, 8, 3), 200, np.uint8), tmp_path / name
    Image.new('RGB', (4, 4)).save(photo)
    with pytest.raises(FileExistsError, match=f'{name} exists and was not written by mmmask'):
        write_picture(picture, photo)
    assert Image.open(photo).size == (4, 4)
    for _ in range(2):  # its own picture is replaced
        assert np.array_equal(Image.open(write_picture(picture, tmp_path / f'x{name}')), picture)
