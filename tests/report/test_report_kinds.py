"""Reports on each kind of training: on real ones, and on logs of detectors and segmentors."""

import html
import json
import re
import shlex
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from conftest import write_noise
from PIL import Image
from test_report import Page

import mmmask
from mmmask.apis import visualize as apis
from mmmask.front import main
from mmmask.front.main import make_parser
from mmmask.report import write_report
from mmmask.report.page import data_wait, throughput, training_time
from mmmask.report.runs import Point, read_run

SMALL = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
BATCH = 4


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """16 images in two classes, of which 12 are trained on."""
    folder = tmp_path_factory.mktemp('images')
    write_noise(folder, 64, 64)
    return folder


@pytest.fixture(scope='module')
def pretrained(images, tmp_path_factory):
    """A pre-training with evolved masks: two epochs of three steps."""
    out = tmp_path_factory.mktemp('runs') / 'pretrained'
    options = {'model.backbone.arch': SMALL, 'default_hooks.logger.interval': 1}
    sizes = dict(epochs=2, batch_size=BATCH, workers=0)
    mmmask.pretrain(images, out, 'ehm', 'vit-tiny-p8', cfg_options=options, **sizes)
    return out


@pytest.fixture(scope='module')
def classifier(images, pretrained, tmp_path_factory):
    """A classifier that was trained for three epochs of three steps."""
    out = tmp_path_factory.mktemp('runs') / 'classifier'
    mmmask.finetune(images, out, pretrained, epochs=3, batch_size=BATCH, workers=0)
    return out


def records(folder):
    (path,) = folder.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def row(path, title):
    """The cells of a row of the overview, or None."""
    found = re.search(rf'<tr><th>{title}</th>(.*?)</tr>', path.read_text())
    return found and [html.unescape(cell) for cell in re.findall('<td>(.*?)</td>', found[1])]


def advised(path):
    """The commands that a report on one run lists, as words."""
    (block,) = re.findall(
        '<h2>Use the checkpoint</h2>.*?<code>(.*?)</code>', path.read_text(), re.DOTALL
    )
    return [shlex.split(line, comments=True) for line in html.unescape(block).splitlines()][1::2]


def assert_speed_is_that_of_the_log(folder, report):
    trained = [one for one in records(folder) if 'iter' in one]
    speeds = [BATCH / one['time'] for one in trained]
    waits = [100 * one['data_time'] / one['time'] for one in trained]
    assert row(report, 'throughput, median') == [f'{median(speeds):.3g} images/s']
    assert row(report, 'data wait, median') == [f'{median(waits):.3g} % of the time']
    run = read_run(folder, 'a')
    assert throughput(run) == [
        Point(*p) for p in zip([one['step'] for one in trained], speeds, strict=True)
    ]
    assert [point.value for point in data_wait(run)] == waits


def test_the_speed_of_a_real_pre_training(pretrained, tmp_path):
    report = write_report([pretrained], tmp_path / 'x.html')
    assert len([one for one in records(pretrained) if 'iter' in one]) == 6
    assert_speed_is_that_of_the_log(pretrained, report)
    accuracies = [one['knn_top1'] for one in records(pretrained) if 'knn_top1' in one]
    first, last, best = accuracies[0], accuracies[-1], max(accuracies)
    expected = f'{first:.1f} → {last:.1f} %, best {best:.1f} %'
    assert row(report, 'k-NN top-1, first → last') == [expected]
    assert read_run(pretrained, 'a').steps_per_epoch == 3


def test_the_evolution_is_drawn_from_all_checkpoints(pretrained, images, tmp_path, monkeypatch):
    drawn, draw = [], apis.visualize_evolution

    def remember(cfg, checkpoints, *others, **options):
        path = draw(cfg, checkpoints, *others, **options)
        drawn.append(([*map(str, checkpoints)], np.array(Image.open(path))))
        return path

    monkeypatch.setattr(apis, 'visualize_evolution', remember)
    report = write_report([pretrained], tmp_path / 'x.html', pictures=True, images=[images])
    page = Page(report)
    titles = [image['alt'] for image in page.all('img')]
    assert titles.count('parts and masks in the course of the training, epoch_2.pth') == 1
    options = dict(evolution=True, images=images, num_images=4)
    mmmask.visualize(pretrained, tmp_path / 'evolution.png', **options)
    (names, picture), (expected_names, expected) = drawn
    assert names == expected_names == [str(pretrained / f'epoch_{i}.pth') for i in (1, 2)]
    assert np.array_equal(picture, expected)


def test_a_classifier(classifier, tmp_path):
    report = write_report([classifier], tmp_path / 'x.html', pictures=True)
    assert_speed_is_that_of_the_log(classifier, report)
    accuracies = [one['accuracy/top1'] for one in records(classifier) if 'accuracy/top1' in one]
    first, _, last = accuracies
    expected = f'{first:.1f} → {last:.1f} %, best {max(accuracies):.1f} %'
    assert row(report, 'top-1 accuracy, first → last') == [expected]
    run = read_run(classifier, 'a')
    # mmengine logs them at the epochs 1 to 3
    assert run.scalars['accuracy/top1'] == [*map(Point, (3, 6, 9), accuracies)]
    assert run.missing == []
    text = Page(report).text
    assert 'No pictures were drawn: they show pre-trainings, and the boxes of detectors.' in text
    curve = report.read_text().split('<figure data-title="top-1 accuracy">')[1].split('</svg>')[0]
    assert curve.count('<circle') == 3


def test_what_is_advised_for_a_classifier_runs(classifier, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = write_report([classifier], tmp_path / 'x.html')
    config, path = read_run(classifier, '').config_file, classifier / 'epoch_3.pth'
    assert [(words[0], words[1].rpartition('/')[2], *words[2:]) for words in advised(report)] == [
        ('python', 'train.py', str(config), '--resume', str(path)),
        ('python', 'test.py', str(config), str(path), '--work-dir', 'TEST', '--draw', 'TEST/worst'),
        ('mmmask', 'evaluate', str(path), '--data', 'FOLDER', '--out', 'KNN'),
        ('mmmask', 'visualize', str(path), '--features', 'pca', '--images', 'FOLDER'),
    ]
    evaluation, picture = (
        [str(images) if word == 'FOLDER' else word for word in words[1:]]
        for words in advised(report)[2:]
    )
    main.main([*evaluation, '--workers', '0'])
    main.main(picture)
    assert Path('KNN', 'config.py').is_file() and Path('pca.png').is_file()


def write_downstream(folder, scope, metric, by_epoch):
    """Four steps of a detector or segmentor in two epochs, each with a validation."""
    data = folder / '20260131_235959' / 'vis_data'
    data.mkdir(parents=True)
    unit = 'Epoch(train)  [1][2/2]' if by_epoch else 'Iter(train) [2/4]'
    (data.parent / 'a.log').write_text(
        '2026/02/01 00:00:01 - mmengine - INFO - batch 4 x 1 processes x 1 accumulated = 4\n'
        f'2026/02/01 00:00:04 - mmengine - INFO - {unit}  lr: 1e-3  loss: 1.0\n'
    )
    logger = '' if by_epoch else 'default_hooks = dict(logger=dict(log_metric_by_epoch=False))\n'
    length = 'max_epochs=2' if by_epoch else 'max_iters=4'
    (data / 'config.py').write_text(
        f"default_scope = '{scope}'\n{logger}train_cfg = dict({length})\nmodel = dict(type='A')\n"
    )
    lines = []
    for step in (2, 4):
        lines.append(
            dict(loss=1.0, time=60.0, data_time=6.0, iter=step, epoch=step // 2, step=step)
        )
        at = step // 2 if by_epoch else step
        lines.append({metric: step / 8, 'time': 0.01, 'data_time': 0.001, 'step': at})
    (data / 'scalars.json').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    (folder / 'epoch_2.pth').write_bytes(b'weights')
    return folder


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize(
    ('scope', 'metric', 'title', 'expected', 'command'),
    [
        ('mmdet', 'coco/bbox_mAP', 'mAP of boxes', '0.250 → 0.500, best 0.500', 'visualize'),
        ('mmdet', 'pascal_voc/mAP', 'mAP of VOC', '0.250 → 0.500, best 0.500', 'visualize'),
        ('mmseg', 'mIoU', 'mIoU', '0.2 → 0.5 %, best 0.5 %', None),
    ],
)
def test_a_detector_and_a_segmentor(scope, metric, title, expected, command, by_epoch, tmp_path):
    folder = write_downstream(tmp_path / 'a', scope, metric, by_epoch)
    run = read_run(folder, 'a')
    assert run.missing == []
    assert run.scalars[metric] == [Point(2, 0.25), Point(4, 0.5)]
    assert throughput(run) == [Point(2, 4 / 60), Point(4, 4 / 60)]
    assert data_wait(run) == [Point(2, 10), Point(4, 10)]
    assert training_time(run) == '0 h 04 min'
    report = write_report([folder], tmp_path / 'x.html')
    assert row(report, f'{title}, first → last') == [expected]
    assert row(report, 'k-NN top-1, first → last') is None
    tools, own = advised(report)[:2], advised(report)[2:]
    assert [words[1].rpartition('/')[2] for words in tools] == ['train.py', 'test.py']
    assert [words[1] for words in own] == ([command] if command else [])
    for words in own:
        options = make_parser().parse_args(words[1:])
        # What trainings of detectors refuse
        assert not (options.features or options.masks or options.evolution or options.boxes)
    assert 'pre-training' not in Page(report).text


def test_the_validation_that_is_missing_is_said(tmp_path):
    folder = write_downstream(tmp_path / 'a', 'mmseg', 'other', True)
    assert read_run(folder, 'a').missing == [
        'There is no mIoU: the config has no validation, or it was not due yet.'
    ]
    assert not Page(write_report([folder], tmp_path / 'x.html', pictures=True)).all('img')


def test_checkpoints_are_in_the_order_of_the_training(tmp_path):
    folder = write_downstream(tmp_path / 'a', 'mmseg', 'mIoU', True)
    for name in ('epoch_10', 'epoch_1', 'best_mIoU_epoch_1'):
        (folder / f'{name}.pth').write_bytes(b'weights')
    (folder / 'last_checkpoint').write_text('epoch_10.pth')
    names = [path.stem for path in read_run(folder, 'a').checkpoints]
    assert names == ['epoch_1', 'epoch_2', 'epoch_10']
