"""The benchmark: exact arithmetic, a fake clock, and fractions of time that are known."""

import json
import re
import runpy
import sys
import time

import pytest
import torch
from conftest import ROOT, SMALL_CLASSIFIER
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from PIL import Image
from rich.console import Console
from torch import nn

from mmmask.apis.validate import validate_config
from mmmask.lab import benchmark
from mmmask.lab.benchmark import components, hog, measuring, steps
from mmmask.registry import DATASETS, MODELS

CPU = torch.device('cpu')


class Clock:
    """A clock that only :meth:`pass_time` moves."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def pass_time(self, seconds):
        self.now += seconds


class OneLinear(BaseModel):
    """``images`` flattened, times one weight matrix; the loss is the mean output."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = nn.Identity()
        self.linear = nn.Linear(3 * backbone['img_size'] ** 2, 10, bias=False)

    def init_weights(self):
        nn.init.ones_(self.linear.weight)

    def forward(self, inputs, mode):
        output = self.linear(inputs.flatten(1))
        self.output_dtype = output.dtype
        return dict(loss=output.mean())


class SlowImages(torch.utils.data.Dataset):
    """Images that take 50 ms each."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        time.sleep(0.05)
        return dict(inputs=torch.zeros(3, 8, 8))


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(measuring, 'time', clock)
    return clock


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A config file around ``OneLinear``: 8 px, plain gradient descent with rate 0.5."""
    monkeypatch.setitem(MODELS.module_dict, 'OneLinear', OneLinear)
    monkeypatch.setitem(DATASETS.module_dict, 'SlowImages', SlowImages)
    monkeypatch.setattr(
        steps,
        'matrix_multiplication',
        lambda device, dtype: (lambda: torch.ones(64, 64) @ torch.ones(64, 64), 2 * 64**3),
    )
    path = tmp_path / 'one_linear.py'
    path.write_text(
        "model = dict(type='mmmask.OneLinear', backbone=dict(img_size=8))\n"
        "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.5))\n"
        "train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)\n"
        'train_dataloader = dict(batch_size=99, num_workers=0,\n'
        "    dataset=dict(type='mmmask.SlowImages'),\n"
        "    sampler=dict(type='DefaultSampler', shuffle=False))\n"
    )
    return str(path)


def test_flops_of_a_linear_layer():
    layer, images = nn.Linear(32, 64), torch.randn(10, 32)
    forward = 2 * 10 * 32 * 64
    assert measuring.count_flops(lambda: layer(images)) == forward
    # Backward computes the gradient of the weight, and of the input if that is asked for.
    assert measuring.count_flops(lambda: layer(images).sum().backward()) == 2 * forward
    images.requires_grad_()
    assert measuring.count_flops(lambda: layer(images).sum().backward()) == 3 * forward


def test_flops_of_attention_on_a_cpu():
    query, key, value = (torch.randn(2, 4, 10, 16, requires_grad=True) for _ in range(3))

    def attend():
        return nn.functional.scaled_dot_product_attention(query, key, value)

    product = 2 * 2 * 4 * 10 * 10 * 16
    assert measuring.count_flops(attend) == 2 * product
    # Backward computes the scores again and four gradients.
    assert measuring.count_flops(lambda: attend().sum().backward()) == (2 + 5) * product


def test_utilization():
    assert measuring.utilization(flops=6e9, seconds=0.1, ceiling=100e9) == pytest.approx(0.6)


def test_rounds_alternate_in_direction(clock):
    order = []
    calls = [lambda name=name: order.append(name) for name in 'ABC']
    measuring.interleave(calls, iters=3, warmup=1, device=CPU)
    assert ''.join(order) == 'ABCCBAABCCBA'


def test_medians_and_ratios_on_a_machine_that_gets_slower(clock):
    # In the order of calls: two rounds to warm up, then A B, B A, A B, B A.
    durations = iter([9, 9, 9, 9, 1, 3, 6, 2, 4, 12, 300, 8])

    def call():
        clock.pass_time(next(durations))

    first, second = measuring.interleave([call, call], iters=4, warmup=2, device=CPU)
    # A took 1, 2, 4, 8 and B 3, 6, 12, 300: one outlier moves neither median of the ratios.
    assert first == (3.0, 1.0)
    assert second == (9.0, 3.0)


def test_fraction_of_time_spent_waiting(clock):
    def loader():
        for index in range(3):
            clock.pass_time(50 if index == 0 else 0.3)  # the first of an epoch takes long
            yield index

    class Loader:
        def __iter__(self):
            return loader()

    seen = []

    def step(batch):
        seen.append(batch)
        clock.pass_time(0.1)

    # One warm-up, then 2 of this epoch and 3 of the next, which starts with 50 seconds.
    fraction = measuring.waiting_share(Loader(), step, iters=5, warmup=1)
    assert seen == [0, 1, 2, 0, 1, 2]
    assert fraction == pytest.approx((4 * 0.3 + 50) / (4 * 0.3 + 50 + 5 * 0.1))


def test_fraction_of_time_spent_waiting_for_a_real_loader(config):
    cfg = Config.fromfile(config)
    step = steps.TrainingStep(cfg, torch.zeros(2, 3, 8, 8))
    plain = step.on_raw_batch
    shapes = []

    def slow_step(batch):
        shapes.append(tuple(batch['inputs'].shape))
        time.sleep(0.1)
        plain(batch)

    step.on_raw_batch = slow_step
    loader = steps.build_loader(cfg, step.model, batch_size=2)
    fraction = steps.measure_waiting(loader, step, iters=8, warmup=1)
    assert shapes == [(2, 3, 8, 8)] * 9
    assert fraction == pytest.approx(0.5, abs=0.15)  # two images of 50 ms each, a step of 100 ms


def test_peak_memory_is_that_of_the_call_alone():
    def hold(megabytes):
        return lambda: torch.ones(megabytes, 2**20, dtype=torch.uint8)

    peak = measuring.peak_memory(hold(200), CPU)
    if peak is None:
        pytest.skip('this system does not let a process reset its memory peak')
    assert peak / 2**20 == pytest.approx(200, abs=10)
    # A smaller one afterwards does not inherit the peak of the larger one.
    assert measuring.peak_memory(hold(50), CPU) / 2**20 == pytest.approx(50, abs=10)


def test_a_training_step_updates_the_weights(config):
    images = torch.full((4, 3, 8, 8), 2.0)
    step = steps.TrainingStep(Config.fromfile(config), images)
    step()
    step()
    # The loss is the mean of 10 outputs, so every weight has gradient 2 / 10.
    weight = step.model.linear.weight
    torch.testing.assert_close(weight, torch.full_like(weight, 1 - 2 * 0.5 * 0.2))
    assert step.model.output_dtype == torch.float32
    assert step.count_flops() == 2 * (2 * 4 * 192 * 10)
    assert weight.grad is None
    torch.testing.assert_close(weight, torch.full_like(weight, 0.8))


def test_a_training_step_in_mixed_precision(config):
    step = steps.TrainingStep(Config.fromfile(config), torch.ones(4, 3, 8, 8), 'bf16')
    step()
    assert step.model.output_dtype == torch.bfloat16
    assert step.model.linear.weight.dtype == torch.float32


def test_fp16_on_a_cpu_is_refused(config):
    with pytest.raises(ValueError, match="amp='fp16' needs a GPU: choose 'bf16' or 'off'"):
        benchmark.benchmark_configs([config], amp='fp16', device='cpu')


def test_images_have_the_channels_of_the_network():
    recipe = 'localmim_vit-small-p16-hog_1xb128-amp-coslr-300e_multispectral.py'
    cfg = steps.read_config(str(ROOT / 'configs/channels' / recipe))
    assert steps.synthetic_images(cfg, 2, CPU).shape == (2, 13, 224, 224)


def test_the_report_of_two_configs(config):
    report = benchmark.benchmark_configs(
        [config, config], batch_size=6, img_size=16, iters=3, warmup=1, device='cpu', profiled=True
    )
    assert [result.name for result in report.results] == ['one_linear'] * 2
    assert report.results[0].ratio == 1
    assert report.machine['image_sizes'] == [(16, 16)] * 2
    for result in report.results:
        assert result.flops == 2 * (2 * 6 * 768 * 10)
        assert result.images_per_second * result.seconds == pytest.approx(6)
        assert result.utilization * report.ceiling * result.seconds == pytest.approx(result.flops)
        assert result.waiting is None
        assert 'aten::mm' in result.profile
        parts = result.profile.splitlines()[0]
        assert all(f'step: {part} ' in parts for part in ('loss', 'backward', 'update'))


def test_updates_by_lars_are_not_counted_in_images():
    report = benchmark.benchmark_component('lars', iters=1, warmup=0, device='cpu')
    assert [result.name for result in report.results] == [
        'LARS without the host', "mmpretrain's loop"
    ]  # fmt: skip
    assert {result.images_per_second for result in report.results} == {None}
    assert 'batch_size' not in report.machine


def test_the_command_writes_what_it_prints(config, tmp_path, monkeypatch, capsys):
    output = tmp_path / 'figures.json'
    command = f'benchmark.py {config} --batch-size 2 --iters 2 --data --device cpu --json {output}'
    monkeypatch.setattr(sys, 'argv', command.split())
    runpy.run_path(str(ROOT / 'tools' / 'benchmark.py'), run_name='__main__')
    report = json.loads(output.read_text())
    (result,) = report['results']
    assert result['name'] == 'one_linear'
    assert result['waiting'] > 0.8  # 100 ms for a batch, and a step of a single small product
    assert report['machine']['batch_size'] == 2
    printed = capsys.readouterr().out
    assert f'{result["waiting"]:.1%}' in printed
    assert f'{result["seconds"] * 1e3:,.1f} ms' in printed


def test_a_file_of_somebody_else_is_kept(config, tmp_path, monkeypatch):
    output = tmp_path / 'notes.json'
    output.write_text('mine')
    with pytest.raises(SystemExit, match='notes.json exists and was not written by mmmask'):
        run_command(f'--component hog --batch-size 2 --iters 2 --json {output}', monkeypatch)
    assert output.read_text() == 'mine'


def run_command(arguments, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['benchmark.py', *arguments.split()])
    runpy.run_path(str(ROOT / 'tools' / 'benchmark.py'), run_name='__main__')


CLASSIFIER = (
    SMALL_CLASSIFIER.replace('num_classes=3', 'num_classes=2')
    + """
train_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmmask.ImageFolder', source='data', with_label=True,
        pipeline=[dict(type='mmpretrain.PackInputs')],
    ),
)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
"""
)


def refusal(text, folder, options, monkeypatch, capsys) -> str:
    """What a benchmark of a config says before it ends with exit code 2."""
    path = folder / 'own.py'
    path.write_text(text.replace("source='data'", f"source='{folder / 'data'}'"))
    with pytest.raises(SystemExit) as leave:
        run_command(f'{path} --batch-size 2 --iters 1 --device cpu {options}', monkeypatch)
    assert leave.value.code == 2
    return capsys.readouterr().err


def test_data_that_contradict_the_network_end_as_before_a_training(tmp_path, monkeypatch, capsys):
    for name in 'abc':
        (tmp_path / 'data' / name).mkdir(parents=True)
        Image.new('RGB', (32, 32)).save(tmp_path / 'data' / name / '0.png')
    message = refusal(CLASSIFIER, tmp_path, '--data', monkeypatch, capsys)
    assert (
        'model.head.num_classes=2, but train_dataloader has 3 classes (a, b, c). Set it to 3.'
    ) in message
    text = CLASSIFIER.replace('num_classes=2', 'num_classes=3')
    text = text.replace('[127.0] * 3', '[127.0] * 4').replace('[64.0] * 3', '[64.0] * 4')
    message = refusal(text, tmp_path, '--data', monkeypatch, capsys)
    assert 'images have 3 channels, but model.data_preprocessor.mean has 4 values' in message


def test_parts_that_contradict_each_other_end_as_before_a_training(tmp_path, monkeypatch, capsys):
    """Images are needed with --data only."""
    text = CLASSIFIER.replace('img_size=32', 'img_size=33')
    message = refusal(text, tmp_path, '', monkeypatch, capsys)
    with pytest.raises(ValueError) as error:
        validate_config(Config.fromfile(tmp_path / 'own.py'), reads_images=False)
    assert str(error.value) in message and 'img_size' in message
    message = refusal(CLASSIFIER, tmp_path, '--data', monkeypatch, capsys)
    assert 'does not exist' in message and 'give a folder or a .zip of images' in message
    run_command(f'{tmp_path / "own.py"} --batch-size 2 --iters 1 --device cpu', monkeypatch)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('gpu9', 'use auto, cpu or cuda'),
        pytest.param(
            'cuda:7',
            'use auto, cpu or cuda',
            marks=pytest.mark.skipif(torch.cuda.device_count() > 7, reason='there are 8 GPUs'),
        ),
    ],
)
def test_a_device_that_is_not_there(name, message, monkeypatch):
    with pytest.raises(SystemExit, match=rf'--device {name}: .*{message}'):
        run_command(f'--component hog --device {name}', monkeypatch)


@pytest.mark.parametrize('arguments', [[], ['config.py', '--component', 'hog']])
def test_the_command_needs_configs_or_a_component(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['benchmark.py', *arguments])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / 'tools' / 'benchmark.py'), run_name='__main__')
    assert 'give one or more configs, or --component' in capsys.readouterr().err


def test_the_table_has_no_empty_columns():
    results = [
        benchmark.Result('fast', 0.5, 1.0, 32.0, 3 * 2**20, 10**12, 0.25),
        benchmark.Result('slow', 2.0, 4.0, 8.0, None, 2 * 10**12, 0.125),
    ]
    console = Console(width=100)
    with console.capture() as capture:
        console.print(benchmark.make_table(benchmark.Report(results, dict(threads=2), 8e12)))
    lines = [re.split(r'\s*[│┃]\s*', line.strip()) for line in capture.get().splitlines()]
    header = ['step', 'ratio', 'images/s', 'peak memory', 'GFLOP/step', 'of ceiling']
    assert ['', '', *header, ''] in lines  # and nothing about waiting for data
    fast = ['500.0 ms', '1.000', '32.0', '3 MiB', '1,000.0', '25.0%']
    slow = ['2,000.0 ms', '4.000', '8.0', '-', '2,000.0', '12.5%']
    assert ['', 'fast', *fast, ''] in lines
    assert ['', 'slow', *slow, ''] in lines
    assert 'ceiling 8,000 GFLOP/s' in ' '.join(word for line in lines for word in line)


def test_all_ways_to_compute_hog_agree():
    torch.manual_seed(0)
    together, alone, plain = (call() for call in hog.hog_calls(2, 64, CPU).values())
    for scale in range(4):
        torch.testing.assert_close(alone[scale], together[scale], atol=1e-5, rtol=0)
        torch.testing.assert_close(plain[scale], together[scale], atol=1e-5, rtol=0)


def test_a_component_is_compared_with_its_alternatives(clock, monkeypatch):
    def calls(batch_size, img_size, device):
        assert (batch_size, img_size, device) == (8, 224, CPU)
        return {'new': lambda: clock.pass_time(2), 'old': lambda: clock.pass_time(10)}

    monkeypatch.setitem(components.COMPONENTS, 'sleep', calls)
    report = benchmark.benchmark_component('sleep', batch_size=8, iters=3, warmup=1, device='cpu')
    assert [result[:4] for result in report.results] == [('new', 2, 1, 4), ('old', 10, 5, 0.8)]


def test_the_model_of_mmpretrain():
    init_default_scope('mmmask')
    model = MODELS.build(steps.read_config(benchmark.MMPRETRAIN_MAE).model)
    assert type(model).__module__ == 'mmpretrain.models.selfsup.mae'
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    # MAE's ViT-B has 111,907,840 parameters, of which the position tables are fixed.
    assert trained == 111_907_840 - 197 * 768 - 197 * 512
