"""Reports on trainings: what the logs say is what the page shows."""

import json
import os
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmmask.outputs import MARK
from mmmask.report import write_report
from mmmask.report.charts import Curve, draw_chart, span, tick, ticks
from mmmask.report.page import data_wait, differences, throughput, training_time
from mmmask.report.runs import Point, log_entries, name_runs, read_run

ROOT = Path(__file__).resolve().parents[2]
LOG = """\
2026/01/31 23:59:59 - mmengine - INFO - 
------------------------------------------------------------
System environment:
    sys.platform: linux
    PyTorch: 2.11.0+cpu
    PyTorch compiling details: PyTorch built with:
  - GCC 13.3

Runtime environment:
    seed: {seed}
------------------------------------------------------------

2026/02/01 00:00:01 - mmengine - INFO - batch {batch} x 2 processes x 1 accumulated = 16; rate 1
2026/02/01 00:00:02 - mmengine - WARNING - Unreadable image skipped, number 1 of 7: <b>&.jpg
second line
2026/02/01 00:00:03 - mmengine - WARNING - Unreadable image skipped, number 2 of 9: <b>&.jpg
second line
2026/02/01 00:00:04 - mmengine - INFO - Epoch(train)  [1][10/20]  lr: 1e-3  loss: 1.0
"""  # noqa: W291
CONFIG = """\
model = dict(type='mmmask.MAE', backbone=dict(type='mmmask.MaskedVisionTransformer', depth={depth}))
train_cfg = dict(max_epochs=4)
work_dir = '{folder}'
"""


def write_run(folder, start='20260131_235959', first=10, last=80, seed=0, depth=6, batch=8):
    """A run of 20 iterations an epoch, logged every 10, with k-NN each epoch and two pictures."""
    data = folder / start / 'vis_data'
    (data / 'vis_image').mkdir(parents=True)
    (data.parent / f'{start}.log').write_text(LOG.format(seed=seed, batch=batch))
    (data / 'config.py').write_text(CONFIG.format(depth=depth, folder=folder))
    records = [dict(knn_top1=20.0 + seed, step=0)] if first == 10 else []
    for step in range(first, last + 1, 10):
        values = dict(
            lr=1e-3 / step, loss=1 + 1 / step + seed, time=0.5, data_time=0.1 + step / 800
        )
        records.append(values | dict(epoch=1 + (step - 1) // 20, iter=step, step=step, memory=100))
        if step % 20 == 0:
            records.append(dict(knn_top1=20.0 + seed + step / 10, step=step))
            Image.new('RGB', (2000, 50), (step, 0, 0)).save(
                data / 'vis_image' / f'reconstruction_{step}.png'
            )
    (data / 'scalars.json').write_text(''.join(json.dumps(record) + '\n' for record in records))
    (folder / f'epoch_{last // 20}.pth').write_bytes(b'weights')
    (folder / 'last_checkpoint').write_text(f'/elsewhere/epoch_{last // 20}.pth')
    return folder


@pytest.fixture
def run(tmp_path):
    return read_run(write_run(tmp_path / 'a'), 'a')


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.text = [], ''
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


class TestRuns:
    def test_values(self, run):
        assert run.scalars['loss'] == [Point(s, 1 + 1 / s) for s in range(10, 81, 10)]
        assert run.scalars['knn_top1'] == [Point(s, 20 + s / 10) for s in (0, 20, 40, 60, 80)]
        assert run.epochs == {1: 20, 2: 40, 3: 60, 4: 80}
        assert (run.images_per_step, run.steps_per_epoch, run.last_step) == (16, 20, 80)
        assert run.epoch_at(50) == 2.5
        assert run.missing == []
        assert run.checkpoint == run.folder / 'epoch_4.pth'
        assert run.environment == {'sys.platform': 'linux', 'PyTorch': '2.11.0+cpu', 'seed': '0'}
        assert run.config['model.backbone.depth'] == 6

    def test_speed(self, run):
        assert throughput(run) == [Point(s, 32) for s in range(10, 81, 10)]
        assert data_wait(run)[0] == Point(10, pytest.approx(100 * (0.1 + 10 / 800) / 0.5))
        assert training_time(run) == '0 h 01 min'  # 80 times half a second

    def test_warnings_that_differ_in_numbers_are_one(self, run):
        text = 'Unreadable image skipped, number 1 of 7: <b>&.jpg\nsecond line'
        assert run.warnings == [('WARNING', '2026/02/01 00:00:02', text, 2)]

    def test_entries_of_a_log(self):
        log = (
            'torn\n2026/01/01 00:00:00 - mmengine - ERROR - a\nb\n2026/01/01 00:00:01 - x - INFO -'
        )
        assert log_entries(log) == [
            ('2026/01/01 00:00:00', 'ERROR', 'a\nb'),
            ('2026/01/01 00:00:01', 'INFO', ''),
        ]

    def test_a_resumed_run_replaces_what_is_repeated(self, tmp_path):
        write_run(tmp_path, last=60)
        write_run(tmp_path, '20260201_100000', first=50, seed=7)
        run = read_run(tmp_path, 'a')
        steps = [point.step for point in run.scalars['loss']]
        assert steps == list(range(10, 81, 10))
        assert [p.value for p in run.scalars['loss']][3:5] == [1 + 1 / 40, 8 + 1 / 50]
        assert run.environment['seed'] == '7'
        assert [p.step for p in run.pictures] == [20, 40, 60, 80]

    def test_states(self, tmp_path):
        run = read_run(write_run(tmp_path / 'a'), 'a')
        assert run.state == 'finished, epoch 4 of 4'
        run = read_run(write_run(tmp_path / 'b', last=40), 'b')
        assert run.state == 'running, epoch 2 of 4'
        past = time.time() - 3600
        for path in run.folder.rglob('*'):
            os.utime(path, (past, past))
        assert run.state == 'stopped or waiting, epoch 2 of 4'

    def test_what_is_torn_or_missing_is_said(self, tmp_path):
        folder = write_run(tmp_path / 'a')
        data = folder / '20260131_235959' / 'vis_data'
        with (data / 'scalars.json').open('a') as file:
            file.write('{"loss": 0.1, "st')
        (data / 'config.py').write_text('x = <function>')
        (folder / 'epoch_4.pth').unlink()
        (data.parent / '20260131_235959.log').unlink()
        run = read_run(folder, 'a')
        assert run.missing == [
            '1 line is truncated in the values of the start of 20260131_235959.',
            'The config cannot be read as data, so it is shown as text only.',
            'The log does not state the batch, so nothing can be shown over images.',
            'There is no checkpoint yet.',
        ]
        assert len(run.scalars['loss']) == 8
        assert run.steps_per_epoch == 20  # from the complete epochs

    def test_a_run_that_has_just_started(self, tmp_path):
        (tmp_path / '20260131_235959').mkdir()
        run = read_run(tmp_path, 'a')
        assert run.state == 'nothing logged yet'
        assert run.missing[0] == 'The start of 20260131_235959 logged no values.'
        assert len(run.missing) == 7

    def test_names_differ(self, tmp_path):
        assert name_runs(['x/mae', 'x/simmim']) == ['mae', 'simmim']
        assert name_runs(['x/mae', 'y/mae']) == ['x/mae', 'y/mae']
        with pytest.raises(ValueError, match='x/mae is given twice'):
            name_runs(['x/mae', 'x/../x/mae'])

    def test_differences(self, tmp_path):
        runs = [read_run(write_run(tmp_path / f'{d}', depth=d), f'{d}') for d in (6, 12)]
        assert differences(runs) == [('model.backbone.depth', ['6', '12'])]


class TestCharts:
    def test_places(self):
        chart = draw_chart([Curve(3, [(0, 0), (5, 5), (10, 10)])], 'epochs', 'loss')
        (line,) = re.findall(r'<polyline class="curve" points="([^"]+)"', chart)
        (x0, y0), (x1, y1), (x2, y2) = (map(float, pair.split(',')) for pair in line.split())
        assert (x0, x2) == (46, 350)
        assert (x1, y1) == ((x0 + x2) / 2, (y0 + y2) / 2)
        assert y0 > y2
        assert 'data-x="0 10"' in chart or 'data-x="0.0 10.0"' in chart
        assert 'class="run-3"' in chart

    def test_values_that_are_not_finite_are_left_out(self):
        curve = Curve(0, [(0, 1), (1, float('nan')), (2, float('inf')), (3, 2)])
        assert draw_chart([curve], 'x', 'y').count('<circle') == 2
        assert 'No finite value' in draw_chart([Curve(0, [(0, float('nan'))])], 'x', 'y')

    @pytest.mark.parametrize(
        ('low', 'high', 'expected'),
        [
            (0, 10, [0, 2, 4, 6, 8, 10]),
            (0.93, 1.02, [0.94, 0.96, 0.98, 1.0, 1.02]),
            (-3, 3, [-2, 0, 2]),
        ],
    )
    def test_ticks(self, low, high, expected):
        assert ticks(low, high) == pytest.approx(expected)

    def test_texts_of_ticks(self):
        texts = [tick(value) for value in (0, 0.25, 3e-5, 12_000, 2.5e6, 9_500)]
        assert texts == ['0', '0.25', '3e-5', '12k', '2.5M', '9500']

    def test_span_is_never_empty(self):
        assert span([2, 2], 0) == pytest.approx((1.8, 2.2))
        assert span([0, 0], 0) == (-1, 1)
        assert span([0, 10], 0.05) == (-0.5, 10.5)


class TestReport:
    @pytest.fixture
    def report(self, tmp_path):
        runs = [write_run(tmp_path / '<i>one'), write_run(tmp_path / 'two', seed=1, depth=12)]
        return write_report(runs, tmp_path / 'new' / 'report.html')

    def test_curves_have_the_points_of_the_log(self, report):
        text = report.read_text()
        figures = dict(re.findall(r'<figure data-title="([^"]+)">(.*?)</figure>', text, re.DOTALL))
        points = {
            title: [line.count(',') for line in re.findall(r'class="curve" points="([^"]+)', body)]
            for title, body in figures.items()
        }
        # For each of two runs, over epochs and over images.
        assert points == {
            'loss': [8] * 4,
            'learning rate': [8] * 4,
            'k-NN top-1': [5] * 4,
            'memory': [8] * 4,
            'throughput': [8] * 4,
            'data wait': [8] * 4,
        }
        images = figures['loss'].split('class="over-images"')[1]
        assert 'data-x="160 1280"' in images  # 16 images in each of 10 to 80 iterations

    def test_nothing_is_loaded_from_elsewhere(self, report):
        page = Page(report)
        addresses = [
            a for _, attrs in page.elements for k, a in attrs.items() if k in ('src', 'href')
        ]
        assert addresses and all(address.startswith('data:') for address in addresses)
        assert not re.search(r'url\(|@import|https?:', report.read_text().replace(MARK, ''))

    def test_texts_are_escaped(self, report):
        page = Page(report)
        assert not page.all('i') and not page.all('b')
        assert '<i>one' in page.text and 'number 1 of 7: <b>&.jpg' in page.text

    def test_what_it_says(self, report):
        text = Page(report).text
        for part in (
            *('finished, epoch 4 of 4', '20.0 → 28.0 %, best 28.0 %', '32 images/s', '1,280'),
            *('model.backbone.depth', '2.11.0+cpu', "type='mmmask.MAE'", '2 earlier pictures'),
            'mmmask export ',
        ):
            assert part in text, part
        assert 'PyTorch built with' not in text

    def test_pictures_are_those_of_the_run(self, report):
        page = Page(report)
        titles = [image['alt'] for image in page.all('img')]
        series = ['reconstruction, epoch 4', 'reconstruction, epoch 1', 'reconstruction, epoch 3']
        assert (
            titles == series * 2 or titles == [series[0], series[1], 'reconstruction, epoch 2'] * 2
        )

    def test_a_torn_picture_is_said(self, tmp_path):
        folder = write_run(tmp_path / 'a')
        picture = folder / '20260131_235959/vis_data/vis_image/reconstruction_80.png'
        picture.write_bytes(picture.read_bytes()[:60])
        text = Page(write_report([folder], tmp_path / 'x.html')).text
        assert 'The picture reconstruction_80.png cannot be read' in text

    def test_a_report_replaces_reports_only(self, tmp_path):
        folder, out = write_run(tmp_path / 'a'), tmp_path / 'report.html'
        assert write_report([folder], out) == write_report([folder], out)
        out.write_text('mine')
        with pytest.raises(
            FileExistsError, match='report.html exists and was not written by mmmask'
        ):
            write_report([folder], out)
        assert out.read_text() == 'mine'

    def test_errors(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='none is not a folder: give the --work-dir'):
            write_report([tmp_path / 'none'], tmp_path / 'x.html')
        with pytest.raises(ValueError, match='holds no logs'):
            write_report([tmp_path], tmp_path / 'x.html')
        with pytest.raises(ValueError, match='no run is given'):
            write_report([], tmp_path / 'x.html')
        with pytest.raises(ValueError, match='set pictures=True'):
            write_report([tmp_path], tmp_path / 'x.html', images=['x'])
        assert not (tmp_path / 'x.html').exists()

    def test_a_run_with_nothing_has_a_report(self, tmp_path):
        (tmp_path / 'a' / '20260131_235959').mkdir(parents=True)
        text = Page(write_report([tmp_path / 'a'], tmp_path / 'x.html')).text
        assert 'nothing logged yet' in text and 'There is no checkpoint yet.' in text


def test_command_line(tmp_path):
    def call(*words, program=(ROOT / 'tools/report.py',)):
        command = [sys.executable, *program, *words]
        environment = os.environ | dict(PYTHONPATH=str(ROOT))
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    out = tmp_path / 'x.html'
    process = call(write_run(tmp_path / 'a'), '--out', out)
    assert process.stdout == f'The report is in {out}\n', process.stderr
    assert np.char.count(out.read_text(), 'class="curve"') == 12
    process = call(tmp_path / 'none')
    assert process.returncode == 2 and 'none is not a folder' in process.stderr
    process = call(tmp_path / 'a', '--images', tmp_path)
    assert process.returncode == 2 and 'pictures=True as well' in process.stderr
    process = call(tmp_path / 'a', '--out', out, program=('-m', 'mmmask', 'report'))
    assert process.stdout == f'The report is in {out}\n', process.stderr
