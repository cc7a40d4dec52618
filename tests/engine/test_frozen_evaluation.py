"""k-NN and retrieval configs in tools/test.py, with random and with pre-trained weights."""

import json
import re
import runpy
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from torch import nn

from mmmask.apis.train import build_runner, load_config
from mmmask.datasets import PartialDuplicates
from mmmask.engine.frozen_evaluation import NOBODY, _relevant, layer_names
from mmmask.evaluation import extract_features, knn_classify, shard
from mmmask.registry import DATASETS, MODELS

TINY = dict(embed_dims=32, num_layers=3, num_heads=2, feedforward_channels=32)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Three classes of noise in three colours: 8 images each to train, 4 held out."""
    root = tmp_path_factory.mktemp('images')
    random = np.random.default_rng(0)
    for part, number in (('train', 8), ('val', 4)):
        for channel, name in enumerate(('blue', 'green', 'red')):
            (root / part / name).mkdir(parents=True)
            for index in range(number):
                image = random.integers(0, 120, (48, 48, 3))
                image[..., 2 - channel] += 120
                picture = Image.fromarray(image.astype(np.uint8)).resize((64, 64))
                picture.save(root / part / name / f'{index}.png')
    return root


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """What a pre-training of the small backbone would write."""
    torch.manual_seed(0)
    backbone = MODELS.build(
        dict(
            type='mmmask.MaskedVisionTransformer', arch=TINY, img_size=64, patch_size=8,
            final_norm=True,
        )
    )  # fmt: skip
    backbone.init_weights()
    path = tmp_path_factory.mktemp('weights') / 'epoch_1.pth'
    tensors = {f'backbone.{name}': value for name, value in backbone.state_dict().items()}
    torch.save({'state_dict': tensors, 'meta': {}}, path)
    return path


def config(name, folder, monkeypatch, **options):
    monkeypatch.setenv('DATA', str(folder))
    arch = {f'model.backbone.arch.{key}': value for key, value in TINY.items()}
    loader = {'test_dataloader.batch_size': 5, 'test_dataloader.num_workers': 0}
    return dict(path=ROOT / f'configs/downstream/{name}.py', options=arch | loader | options)


def run(tmp_path, checkpoint=None, **arguments):
    cfg = load_config(
        **arguments, work_dir=str(tmp_path), pretrained=checkpoint and str(checkpoint)
    )
    cfg.log_level, cfg.visualizer.vis_backends = 'WARNING', [dict(type='LocalVisBackend')]
    cfg.experiment_name = str(tmp_path)
    runner, _ = build_runner(cfg)
    if checkpoint is None:
        runner._init_model_weights()
    return runner, runner.test()


def test_knn_is_what_the_functions_say(folder, checkpoint, tmp_path, monkeypatch):
    options = config('tiny_imagenet/vit-tiny-p8_knn_tiny-imagenet-64px', folder, monkeypatch)
    options['options'] |= {
        'test_dataloader.dataset.source': str(folder),
        'test_cfg.bank.source': str(folder),
        'test_cfg.k': (3, 5),
    }
    runner, metrics = run(tmp_path, checkpoint, **options)
    assert list(metrics) == ['knn3/cls', 'knn3/mean', 'knn5/cls', 'knn5/mean']
    loop, loaders, cfg = runner.test_loop, {}, runner.cfg
    for name, dataset in (('bank', cfg.test_cfg.bank), ('query', cfg.test_dataloader.dataset)):
        loaders[name] = shard(DATASETS.build(dataset), **loop.options)
    saved = torch.load(checkpoint, weights_only=True)['state_dict']
    for name, value in runner.model.state_dict().items():
        if name.startswith('backbone.'):
            torch.testing.assert_close(value, saved[name])
    for pooling in ('cls', 'mean'):
        bank, labels = extract_features(runner.model, loaders['bank'], pooling)
        query, wanted = extract_features(runner.model, loaders['query'], pooling)
        expected = (knn_classify(bank, labels, query, 3) == wanted).float().mean().item()
        assert metrics[f'knn3/{pooling}'] == pytest.approx(100 * expected)
    assert metrics['knn3/mean'] > 90  # colours can be told apart without training


def test_classes_that_queries_lack_keep_their_numbers(folder, tmp_path, monkeypatch):
    """Without blue, green would be class 0 and no query right."""
    (tmp_path / 'train').symlink_to(folder / 'train')
    (tmp_path / 'val').mkdir()
    for name in ('green', 'red'):
        (tmp_path / 'val' / name).symlink_to(folder / 'val' / name)
    options = config('tiny_imagenet/vit-tiny-p8_knn_tiny-imagenet-64px', tmp_path, monkeypatch)
    options['options'] |= {
        'test_dataloader.dataset.source': str(tmp_path),
        'test_cfg.bank.source': str(tmp_path),
        'test_cfg.k': 3,
    }
    assert run(tmp_path / 'work', **options)[1]['knn3/mean'] == 100


@pytest.mark.parametrize('k', [(3, 200), (0,), 25])
def test_neighbours_are_as_many_as_the_bank_has(k, folder, tmp_path, monkeypatch):
    options = config('tiny_imagenet/vit-tiny-p8_knn_tiny-imagenet-64px', folder, monkeypatch)
    options['options'] |= {
        'test_dataloader.dataset.source': str(folder),
        'test_cfg.bank.source': str(folder),
        'test_cfg.k': k,
    }
    shown = re.escape(str(k if isinstance(k, tuple) else (k,)))
    message = rf'test_cfg.k={shown} must lie between 1 and the 24 images of test_cfg.bank'
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **options)


def test_one_number_of_neighbours_needs_no_list(folder, tmp_path, monkeypatch):
    options = config('tiny_imagenet/vit-tiny-p8_knn_tiny-imagenet-64px', folder, monkeypatch)
    options['options'] |= {
        'test_dataloader.dataset.source': str(folder),
        'test_cfg.bank.source': str(folder),
        'test_cfg.k': 5,
    }
    assert list(run(tmp_path, **options)[1]) == ['knn5/cls', 'knn5/mean']


def test_a_probe_of_few_images_converges(folder, checkpoint, tmp_path, monkeypatch):
    options = config('tiny_imagenet/vit-tiny-p8_probe_tiny-imagenet-64px', folder, monkeypatch)
    options['options'] |= {
        'test_dataloader.dataset.source': str(folder),
        'test_cfg.bank.source': str(folder),
    }
    runner, metrics = run(tmp_path, checkpoint, **options)
    assert list(metrics) == ['linear/cls', 'linear/mean', 'majority']
    assert metrics['majority'] == pytest.approx(100 / 3)
    assert metrics['linear/mean'] == 100
    # With the test labels changed, every answer is wrong, and the log says so.
    warnings = []
    monkeypatch.setattr(runner.logger, 'warning', warnings.append)
    bank, query = runner.test_loop.describe_both()
    shifted = bank, query._replace(labels=(query.labels + 1) % 3)
    monkeypatch.setattr(runner.test_loop, 'describe_both', lambda: shifted)
    assert runner.test_loop.measure()['linear/mean'] == 0
    assert any('linear/mean is 0.00 %, below the 33.33 %' in text for text in warnings)


def test_class_retrieval(folder, checkpoint, tmp_path, monkeypatch):
    options = config('retrieval/vit-tiny-p8_classes-64px', folder, monkeypatch)
    options['options']['model.backbone.out_indices'] = [0, 1, 2]
    runner, metrics = run(tmp_path, checkpoint, **options)
    assert metrics['classes/gem layer 1/mAP'] > 80 and metrics['classes/gem layer 1/R@1'] > 90
    assert {name.split('/')[1] for name in metrics} == {
        'gem layer 1', 'gem layer 2', 'gem layer 3', 'cls', 'cls + gem'
    }  # fmt: skip
    (picture,) = tmp_path.rglob('ranking*.png')
    assert Image.open(picture).height > 8 * 250  # eight queries in rows


def test_an_image_finds_itself_among_distractors(folder, tmp_path, monkeypatch):
    """Unaltered queries are found first with any weights, also with whitening."""
    monkeypatch.setattr(
        'mmmask.datasets.copy_detection.partial_duplicate', lambda image, *rest: image
    )
    options = config('retrieval/vit-tiny-p8_duplicates-64px', folder, monkeypatch)
    images = dict(
        type='mmmask.ImageFolder', source=str(folder),
        pipeline=Config.fromfile(options['path']).pipeline,
    )  # fmt: skip
    options['options'] |= {
        'model.backbone.out_indices': [0, 2],
        'test_dataloader.dataset.num_queries': 5,
        'test_cfg.queries.duplicates.num_queries': 5,
        'test_cfg.distractors': images | dict(prefix='train/red'),
        'test_cfg.num_drawn': 0,
    }
    _, metrics = run(tmp_path / 'plain', **options)
    assert metrics['duplicates/cls + gem/R@5'] == 100
    # 36 images, 10 of them queries or backgrounds; a distractor may be the original once more
    assert metrics['duplicates/cls + gem/mAP'] > 50
    del options['options']['test_cfg.distractors']
    options['options']['test_cfg.whitening'] = images
    _, metrics = run(tmp_path / 'white', **options)
    assert {value for name, value in metrics.items() if name.endswith('R@1')} == {100.0}


def test_several_kinds_of_queries_are_averaged(folder, tmp_path, monkeypatch):
    options = config('retrieval/vit-tiny-p8_classes-64px', folder, monkeypatch)
    queries = Config.fromfile(options['path']).test_cfg.queries.classes
    options['options'] |= {
        'model.backbone.out_indices': [2],
        'test_cfg.queries': {
            '_delete_': True, 'one': queries, 'two': queries | dict(subset=0.5),
        },
        'test_cfg.num_drawn': 0,
    }  # fmt: skip
    _, metrics = run(tmp_path, **options)
    one, two, mean = (metrics[f'{name}/cls/mAP'] for name in ('one', 'two', 'mean'))
    assert mean == pytest.approx((one + two) / 2)


def test_relevant_images_by_hand():
    bank = torch.tensor([4, NOBODY, 7, 4])
    assert _relevant(torch.tensor([7, 4]), bank, 'strong') == [{2}, {0, 3}]
    with pytest.raises(ValueError, match="1 of 2 queries of 'strong', the first with label 5"):
        _relevant(torch.tensor([7, 5]), bank, 'strong')


def test_names_of_taps():
    class Tapped(nn.Module):
        out_indices = [3, 7, 11]

    assert layer_names(Tapped()) == ('stage 4', 'stage 8', 'stage 12')
    Tapped.layers = ()
    assert layer_names(Tapped()) == ('layer 4', 'layer 8', 'layer 12')


def test_duplicates_of_photographs_are_what_they_are_called(tmp_path):
    from skimage import data, io

    for name in ('astronaut', 'chelsea', 'coffee', 'rocket'):
        io.imsave(tmp_path / f'{name}.png', getattr(data, name)())
    queries = PartialDuplicates(
        str(tmp_path), 'queries', num_queries=2, pipeline=[dict(type='mmpretrain.PackInputs')]
    )
    for index in range(2):
        info = queries.get_data_info(index)
        under = np.asarray(Image.open(tmp_path / info['background']['name'])).astype(int)
        made = queries[index]['inputs'].numpy()[::-1].transpose(1, 2, 0).astype(int)
        assert made.shape == under.shape
        same = (np.abs(made - under).max(-1) < 40).mean()
        assert 0.3 < same < 0.95  # the background is still there around the part


def test_command_line(folder, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv('DATA', str(folder))
    command = [
        sys.executable, 'tools/test.py', 'configs/downstream/retrieval/vit-tiny-p8_classes-64px.py',
        '--work-dir', str(tmp_path), '--pretrained', str(checkpoint), '--cfg-options',
        'test_dataloader.num_workers=0', 'model.backbone.out_indices=[2]',
        *(f'model.backbone.arch.{key}={value}' for key, value in TINY.items()),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'Retrieval among 24 images, in percent' in done.stdout
    assert '0 missing' in done.stdout + done.stderr
    (scores,) = tmp_path.glob('*/*.json')
    assert json.loads(scores.read_text())['classes/cls/mAP'] > 33
    command.insert(3, str(checkpoint))
    both = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert both.returncode == 2


def test_a_trained_model_is_tested_whole_or_not_at_all(folder, checkpoint, tmp_path, monkeypatch):
    """A head that was not in the file would classify at random."""
    config = 'imagenet/vit-tiny-p8_localmim_1xb128-amp-coslr-20e_tiny-imagenet-64px.py'
    options = {
        **{f'model.backbone.arch.{key}': value for key, value in TINY.items()},
        'model.head.in_channels': 32,
        'model.head.num_classes': 3,
        'model.data_preprocessor.num_classes': 3,
        **{f'{part}_dataloader.dataset.source': folder for part in ('train', 'val', 'test')},
        'test_dataloader.dataset.indices': 4,  # all of the first class
        'test_dataloader.num_workers': 0,
        'test_evaluator.topk': '[1]',
    }

    def test(file):
        values = [f'{key}={value}' for key, value in options.items()]
        values.append(f'experiment_name={file.stem}')
        command = ['test.py', str(ROOT / 'configs/downstream' / config), str(file)]
        command += ['--work-dir', str(tmp_path), '--cfg-options', *values]
        monkeypatch.setattr(sys, 'argv', command)
        runpy.run_path(str(ROOT / 'tools/test.py'), run_name='__main__')

    with pytest.raises(SystemExit, match='none.pth. does not exist: correct the path'):
        test(tmp_path / 'none.pth')
    with pytest.raises(SystemExit, match='(?s)missing keys in source .*head.* use --pretrained'):
        test(checkpoint)
    cfg = Config.fromfile(ROOT / 'configs/downstream' / config)
    cfg.merge_from_dict({key: options[key] for key in options if key.startswith('model.')})
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model)
    for chosen in (0, 1):
        with torch.no_grad():
            model.head.fc.bias.copy_(100 * torch.eye(3)[chosen])
        torch.save({'state_dict': model.state_dict(), 'meta': {}}, tmp_path / f'best_{chosen}.pth')
        test(tmp_path / f'best_{chosen}.pth')
    scores = {json.loads(path.read_text())['accuracy/top1'] for path in tmp_path.glob('*/2*.json')}
    assert scores == {0.0, 100.0}
