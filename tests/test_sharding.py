"""Trainings whose state is divided among processes equal those whose state is not."""

import os

import pytest
import torch
from conftest import DEMOS
from mmengine.runner import Runner
from mmpretrain.engine.optimizers import LARS
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from test_resume import photographs_folder, train  # noqa: F401  a fixture
from torch import nn

from mmmask.engine.hooks.non_finite_loss import skip_non_finite_steps
from mmmask.engine.sharding import collect, shard_model
from mmmask.lab.soak import compare, read_run

DEMO = {path.stem.split('_')[0]: path for path in DEMOS if path.stem.endswith('digits')}
RUNNERS = dict(
    none='Runner',
    optimizer='mmmask.OptimizerShardingRunner',
    full='mmmask.FullyShardingRunner',
)
DIGITS = dict(
    type='mmmask.Digits',
    pipeline=[dict(type='mmpretrain.Resize', scale=64), dict(type='mmpretrain.PackInputs')],
)
SMALL = {
    'model.backbone.arch.num_layers': 1,
    'model.neck.depth': 1,
}
# Norms of divided gradients, groups of parameters, a hook that calls the backbone a different
# number of times in each process, and one that draws.
OPTIONS = {
    'optim_wrapper.clip_grad': dict(max_norm=0.5),
    'optim_wrapper.paramwise_cfg': dict(layer_decay_rate=0.7),
    'custom_hooks': [
        dict(type='mmmask.NonFiniteLossHook'),
        dict(
            type='mmmask.OnlineKNNHook',
            bank=dict(**DIGITS, indices=24),
            query=dict(**DIGITS, indices=9),
            k=3,
            batch_size=4,
        ),
        dict(type='mmmask.ReconstructionHook', dataset=dict(**DIGITS, indices=4), num_images=2),
    ],
}


def in_processes(number, function, *args):
    torch.multiprocessing.start_processes(
        join, args=(number, function, *args), nprocs=number, start_method='fork'
    )


def join(rank, number, function, folder, *args):
    torch.set_num_threads(1)  # the threads of the parent process do not survive the fork
    store = f'file://{folder}/rendezvous_of_{number}'
    torch.distributed.init_process_group('gloo', init_method=store, rank=rank, world_size=number)
    os.environ['LOCAL_RANK'] = str(rank)
    Runner._log_env = lambda *args: None  # which starts compilers to ask for their versions
    function(folder, *args)


def weights_differ_by(first, second):
    first, second = (run['checkpoint']['state_dict'] for run in (first, second))
    assert first.keys() == second.keys()
    return max((first[name] - second[name]).abs().max().item() for name in first)


def train_in_two(folder, images):
    for shard, name, stop_at in (
        ('none', 'whole', None),
        ('full', 'whole', None),
        ('full', 'stopped', 2),
        ('full', 'stopped', None),
        ('optimizer', 'stopped', 2),
        ('optimizer', 'stopped', None),
    ):
        options = SMALL | dict(runner_type=RUNNERS[shard], launcher='pytorch', batch_size=4)
        train(DEMO['cmae-huang'], images, folder / f'{shard}_{name}', stop_at, **options)
    for shard in ('none', 'full'):
        options = (
            SMALL | OPTIONS | dict(runner_type=RUNNERS[shard], launcher='pytorch', batch_size=4)
        )
        train(DEMO['mae'], images, folder / f'{shard}_options', **options)


def train_in_bf16(folder, images):
    for shard, runner in RUNNERS.items():
        options = SMALL | dict(runner_type=runner, launcher='pytorch', batch_size=2)
        options |= {
            'optim_wrapper.type': 'mmmask.ProcessorAmpOptimWrapper',
            'optim_wrapper.accumulative_counts': 2,
            'optim_wrapper.clip_grad': dict(max_norm=100.0),
        }
        train(DEMO['mae'], images, folder / f'{shard}_bf16', **options)


def skip_a_step(folder, images):
    """Process 1 alone has a gradient that is not finite; no process makes the step."""
    for fused in (True, False):
        torch.manual_seed(0)
        model = nn.Sequential(TransformerEncoderLayer(8, 2, 16), nn.Linear(8, 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, fused=fused)
        shard_model(model, optimizer)
        skip_non_finite_steps(optimizer)
        before = collect(model.state_dict())
        for broken in (True, False):
            model(torch.ones(2, 3, 8)).sum().backward()
            if broken and torch.distributed.get_rank() == 1:
                optimizer.param_groups[0]['params'][0].grad.to_local().fill_(torch.inf)
            optimizer.step()
            optimizer.zero_grad()
            after = collect(model.state_dict())
            assert all(torch.equal(before[name], after[name]) for name in before) == broken
    with pytest.raises(ValueError, match='--shard full divides a model at its .* Linear has none'):
        shard_model(nn.Linear(2, 2), optimizer)
    with pytest.raises(ValueError, match="optimizer.type='LARS' does not work with --shard full"):
        shard_model(model, LARS(model.parameters(), lr=1.0))


def resume_in_four(folder, images):
    for shard, runner in RUNNERS.items():
        options = SMALL | dict(runner_type=runner, launcher='pytorch', batch_size=2)
        options['load_from'] = str(folder / 'full_stopped' / 'iter_3.pth')
        train(DEMO['cmae-huang'], images, folder / f'{shard}_resumed', **options)


@pytest.fixture(scope='module')
def folder(photographs_folder, tmp_path_factory):  # noqa: F811
    """Work directories of runs with two processes, and of four that resume one of them."""
    folder = tmp_path_factory.mktemp('sharding')
    in_processes(2, train_in_two, folder, photographs_folder)
    in_processes(4, resume_in_four, folder, photographs_folder)
    return folder


def test_a_sharded_optimizer_changes_nothing_and_resumes_bit_by_bit(folder):
    whole, sharded = (read_run(folder / name) for name in ('none_whole', 'optimizer_stopped'))
    for run in (whole, sharded):  # mmengine's record of options, which are those of the config
        run['checkpoint']['optimizer'].pop('base_param_settings')
    assert compare(whole, sharded, 'optimizer') == []


def test_bf16_and_accumulation(photographs_folder, tmp_path):  # noqa: F811
    """Two batches form a step: its gradient has the same norm however it is divided."""
    in_processes(2, train_in_bf16, tmp_path, photographs_folder)
    whole, optimizer, full = (read_run(tmp_path / f'{shard}_bf16') for shard in RUNNERS)
    for run in (whole, optimizer):
        run['checkpoint']['optimizer'].pop('base_param_settings', None)
    assert compare(whole, optimizer, 'optimizer') == []
    steps = [
        {step: line for step, lines in run['log'].items() for line in lines if 'loss' in line}
        for run in (whole, full)
    ]
    assert len(steps[0]) == 8
    for step, line in steps[0].items():
        for key in {'loss', 'grad_norm'} & line.keys():
            assert steps[1][step][key] == pytest.approx(line[key], rel=0.02), (step, key)
    assert any('grad_norm' in line for line in steps[0].values())


def test_no_process_makes_a_step_that_is_not_finite_in_one(tmp_path):
    in_processes(2, skip_a_step, tmp_path, None)


def test_a_single_process_is_refused(photographs_folder, tmp_path):  # noqa: F811
    with pytest.raises(ValueError, match='--shard divides a training among processes'):
        train(DEMO['mae'], photographs_folder, tmp_path, runner_type=RUNNERS['full'])


def test_divided_weights_resume_bit_by_bit(folder):
    whole, stopped = (read_run(folder / name) for name in ('full_whole', 'full_stopped'))
    assert compare(whole, stopped, 'full') == []


def test_divided_weights_are_those_of_whole_ones(folder):
    whole, divided = (read_run(folder / name) for name in ('none_whole', 'full_whole'))
    assert weights_differ_by(whole, divided) < 1e-5
    states = [run['checkpoint']['optimizer']['state'] for run in (whole, divided)]
    assert states[0].keys() == states[1].keys() and len(states[0]) > 20
    for number, state in states[0].items():
        for key, value in state.items():
            torch.testing.assert_close(states[1][number][key], value, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize('shard', ['optimizer', 'full'])
def test_another_number_of_processes_resumes(folder, shard):
    """Four processes resume a checkpoint of two, and go on as four with whole states do."""
    whole, divided = (read_run(folder / f'{name}_resumed') for name in ('none', shard))
    assert sorted(whole['log']) == [4]
    assert weights_differ_by(whole, divided) < (1e-5 if shard == 'full' else 1e-30)
    loss, other = (run['log'][4][0]['loss'] for run in (whole, divided))
    assert other == pytest.approx(loss, rel=1e-5)


def test_options_of_the_optimizer_and_hooks_that_observe(folder):
    whole, divided = (read_run(folder / f'{name}_options')['log'] for name in ('none', 'full'))
    measured = {'loss', 'grad_norm', 'knn_top1'}
    assert measured <= {key for lines in whole.values() for line in lines for key in line}
    for step, lines in whole.items():
        for line, other in zip(lines, divided[step], strict=True):
            for key in measured & line.keys():
                assert other[key] == pytest.approx(line[key], rel=1e-4), (step, key)
    pictures = [
        {path.name: path.read_bytes() for path in (folder / f'{name}_options').rglob('*.png')}
        for name in ('none', 'full')
    ]
    assert pictures[0].keys() == pictures[1].keys() and len(pictures[0]) == 2
