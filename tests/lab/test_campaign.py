import fcntl
import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from PIL import Image
from scipy import stats

from mmmask.apis.visualize import build_model
from mmmask.doctor import ROOT
from mmmask.lab.campaign import run_campaign, summary
from mmmask.lab.campaign.declaration import read_campaign
from mmmask.lab.campaign.forking import fork_checkpoint
from mmmask.lab.campaign.images import Images
from mmmask.lab.campaign.reading import Features, score
from mmmask.lab.campaign.runs import Conductor, Run, list_runs
from mmmask.lab.campaign.statistics import estimate, paired_difference
from mmmask.lab.campaign.summary import images_to_reach, operations, write_summary
from mmmask.lab.campaign.training import pretraining_config, tuning_config
from mmmask.outputs import OutputFolder
from mmmask.visualization import figure_pixels

FAST = {'train_dataloader.batch_size': 8}
MAE = dict(config='configs/demo/mae_vit-tiny_digits.py', options=FAST)
EHM = dict(config='configs/demo/ehm_vit-tiny_digits.py', options=FAST, fork='MAE', fork_epoch=2)


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """Three classes of ten tracks of three frames to train on, and six images each to test on."""
    folder = tmp_path_factory.mktemp('signs')
    random = np.random.default_rng(0)
    for label in range(3):
        for part, count in (('train', 30), ('val', 6)):
            place = folder / part / f'class{label}'
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 120, (32, 32, 3))
                pixels[..., label] += 2  # hard to see
                name = f'{number // 3:02}_{number % 3}.png'
                Image.fromarray(pixels.astype('uint8')).save(place / name)
    return folder


@pytest.fixture
def declare(source, tmp_path):
    """Write a campaign with some keys replaced, and return its path."""

    def write(**changes) -> Path:
        content = dict(
            title='Signs',
            data=dict(
                source=str(source),
                train='train',
                test='val',
                group=r'^(.+)_\d+\.png$',
                crop=0.5,
                flip=False,
            ),
            seeds=[0, 1],
            epochs=4,
            points=2,
            reference='MAE',
            methods=dict(MAE=MAE, EHM=EHM),
            reading=dict(layers=[0, 5], grids=['mean', '2x2'], k=3, labels=[0.2, 1.0], draws=2),
        )
        path = tmp_path / 'signs.yaml'
        path.write_text(yaml.safe_dump(content | changes, sort_keys=False))
        return path

    return write


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(seedz=[0]), "unknown key 'seedz': did you mean 'seeds'"),
        (dict(data=dict(test='val')), "data lacks 'source'"),
        (dict(methods={}), 'methods is empty'),
        (dict(methods=dict(EHM=EHM)), r"methods.EHM.fork='MAE' must be a method of this file"),
        (dict(methods=dict(MAE=MAE, EHM=EHM | dict(fork_epoch=3))), 'fork_epoch=3 .* one of .2.'),
        (dict(points=3), 'epochs=4 must be a multiple of points=3'),
        (dict(reference='BYOL'), "reference='BYOL' is none of the methods"),
    ],
)
def test_a_wrong_declaration_is_refused(declare, changes, message):
    with pytest.raises(ValueError, match=message):
        read_campaign(declare(**changes))


def test_the_campaigns_of_the_project_are_valid():
    for path in (ROOT / 'docs' / 'campaign').glob('*.yaml'):
        campaign = read_campaign(path)
        for method in campaign.methods.values():
            cfg = Config.fromfile(ROOT / method.config)
            cfg.merge_from_dict(method.options)


def test_frames_of_a_track_stay_together(declare, tmp_path):
    images = Images(read_campaign(declare()).data, tmp_path / 'lists')
    tracks = {part: {name[:-6] for name in names} for part, names in images.parts.items()}
    assert not tracks['train'] & tracks['val']
    assert Counter(track.split('/')[0] for track in tracks['val']) == {
        f'class{label}': 2 for label in range(3)
    }
    assert {part: len(names) for part, names in images.parts.items()} == dict(train=72, val=18)
    few = images.few(0.2, seed=0)
    assert Counter(name.split('/')[0] for name in few) == {f'class{i}': 5 for i in range(3)}
    assert len({name[:-6] for name in few}) == 15  # each from another track, as there are enough
    assert images.few(0.2, seed=1) != few
    assert len(images.few(0.001, seed=0)) == 3


def test_test_images_are_held_out_if_no_folder_has_them(declare, source, tmp_path):
    data = dict(source=str(source), train='train', group=r'^(.+)_\d+\.png$')
    images = Images(read_campaign(declare(data=data)).data, tmp_path / 'lists')
    tracks = {part: {name[:-6] for name in names} for part, names in images.parts.items()}
    assert {part: len(names) for part, names in tracks.items()} == dict(train=18, val=6, test=6)
    assert len(set.union(*tracks.values())) == 30


def test_a_group_that_does_not_match_is_named(declare, source, tmp_path):
    data = dict(source=str(source), train='train', group='(frame)')
    with pytest.raises(ValueError, match=r"data.group='\(frame\)' does not match .*class0/00_0"):
        Images(read_campaign(declare(data=data)).data, tmp_path / 'lists')


def test_pretraining_sees_the_images_of_the_campaign_without_labels(declare, source, tmp_path):
    campaign = read_campaign(declare())
    images = Images(campaign.data, tmp_path / 'lists')
    cfg = pretraining_config(campaign, campaign.methods['MAE'], images)
    dataset = cfg.train_dataloader.dataset
    assert (dataset.source, dataset.prefix, dataset.with_label) == (str(source), 'train', False)
    assert [step.type.split('.')[-1] for step in dataset.pipeline] == [
        'RandomResizedCrop',
        'PackInputs',
    ]
    assert dataset.pipeline[0].crop_ratio_range == (0.5, 1.0)
    assert (cfg.train_cfg.max_epochs, cfg.default_hooks.checkpoint.interval) == (4, 2)
    assert cfg.train_dataloader.batch_size == 8
    assert not any('bank' in hook for hook in cfg.custom_hooks)


def test_every_view_is_cropped_and_flipped_as_the_data_allow(declare, source, tmp_path):
    views = dict(config='configs/demo/cmae-mao_vit-tiny_digits.py')
    path = declare(
        data=dict(source=str(source), train='train', crop=0.3), methods=dict(MAE=MAE, CMAE=views)
    )
    campaign = read_campaign(path)
    images = Images(campaign.data, tmp_path / 'lists')
    cfg = pretraining_config(campaign, campaign.methods['CMAE'], images)
    views = cfg.train_dataloader.dataset.pipeline[0].transforms
    assert len(views) == 2
    for view in views:
        assert view[0].crop_ratio_range == (0.3, 1.0)
        assert view[1].type == 'mmpretrain.RandomFlip'


@pytest.mark.parametrize('flip, probability', [(False, 0.0), (True, 0.5)])
def test_views_made_on_the_device_are_too(declare, source, tmp_path, flip, probability):
    deep = dict(config='configs/demo/ladder/maskdeep-m4_resnet-18_tiny-imagenet.py')
    path = declare(
        data=dict(source=str(source), train='train', crop=0.3, flip=flip),
        methods=dict(MAE=MAE, M4=deep),
    )
    campaign = read_campaign(path)
    images = Images(campaign.data, tmp_path / 'lists')
    cfg = pretraining_config(campaign, campaign.methods['M4'], images)
    views = build_model(cfg, seed=0).data_preprocessor.views
    assert len(views) == 4
    for crop, mirror, *_ in views:
        assert tuple(crop._param_generator.scale) == (0.3, 1.0)
        assert mirror.p == probability


def test_a_fork_gets_the_weights_and_copies_them_for_its_parser(tmp_path):
    parent = build_model(Config.fromfile(ROOT / MAE['config']), seed=1)
    parameters = {name: value.clone() for name, value in parent.state_dict().items()}
    torch.save(dict(state_dict=parameters, optimizer=dict(step=7)), tmp_path / 'epoch_2.pth')
    model = build_model(Config.fromfile(ROOT / EHM['config']), seed=2)
    fork_checkpoint(tmp_path / 'epoch_2.pth', model, tmp_path / 'fork.pth')
    forked = torch.load(tmp_path / 'fork.pth')
    assert forked['optimizer'] == dict(step=7)
    copies = 0
    for name, tensor in forked['state_dict'].items():
        if name.startswith('parser.copy.module.encoder.'):
            name = name.replace('parser.copy.module.encoder.', 'backbone.')
            copies += 1
        if name in parameters:
            assert torch.equal(tensor, parameters[name])
    assert copies == sum(name.startswith('backbone.') for name in parameters)


def test_a_fork_to_another_decoder_is_refused(tmp_path):
    parent = build_model(Config.fromfile(ROOT / MAE['config']))
    torch.save(dict(state_dict=parent.state_dict()), tmp_path / 'epoch_2.pth')
    other = build_model(Config.fromfile(ROOT / 'configs/demo/localmim_vit-tiny_digits.py'))
    with pytest.raises(ValueError, match='weights differ, such as neck'):
        fork_checkpoint(tmp_path / 'epoch_2.pth', other, tmp_path / 'fork.pth')


def test_settings_are_chosen_without_the_test_images(declare, tmp_path):
    campaign = read_campaign(declare())
    images = Images(campaign.data, tmp_path / 'lists')
    random = torch.Generator().manual_seed(0)

    def features(part: str, wrong: bool = False) -> Features:
        labels = torch.tensor(list(images.parts.get(part, range(18)) and [
            label for label in (0, 1, 2) for _ in range(len(images.parts.get(part, range(18))) // 3)
        ]))  # fmt: skip
        good = torch.eye(3)[labels] + 0.01 * torch.randn(len(labels), 3, generator=random)
        noise = torch.randn(len(labels), 3, generator=random)
        names = sorted(images.parts.get(part, map(str, range(18))))
        values = {'5/mean': good, '0/mean': noise}
        return Features(values, 2 - labels if wrong else labels, names)

    parts = {part: features(part) for part in ('train', 'val')}
    right = score(parts | dict(test=features('test')), campaign.reading, images)
    wrong = score(parts | dict(test=features('test', True)), campaign.reading, images)
    assert right['chosen'] == wrong['chosen'] == '5/mean'
    assert right['knn_test']['5/mean'] == 100
    assert wrong['knn_test']['5/mean'] == pytest.approx(100 / 3)
    assert right['linear'] == {'0.2': [100, 100], '1': [100]}


def test_intervals_and_paired_test():
    values, others = [61.0, 64.0, 63.5], [60.0, 62.5, 63.0]
    result = paired_difference(values, others)
    reference = stats.ttest_rel(values, others)
    low, high = reference.confidence_interval(0.95)
    assert result.estimate.mean == pytest.approx(1.0)
    assert result.estimate.half_width == pytest.approx((high - low) / 2)
    assert result.p_value == pytest.approx(reference.pvalue)
    assert str(estimate([50.0])) == '50.0'
    # by hand: deviation 1.528, quantile of two degrees of freedom 4.303, root of three
    assert str(estimate([1.0, 3.0, 4.0])) == '2.7 ± 3.8'


def test_images_to_reach_a_level():
    curve = [(0, 10.0), (100, 30.0), (200, 40.0)]
    assert images_to_reach(curve, 20.0) == 50
    assert images_to_reach(curve, 40.0) == 200
    assert images_to_reach(curve, 41.0) is None
    falling = [(0, 30.0), (100, 10.0), (200, 40.0)]
    assert images_to_reach(falling, 20.0) == 0  # random weights are there already


def test_before_a_fork_the_operations_are_those_of_the_parent(declare):
    campaign = read_campaign(declare())
    fork = campaign.methods['EHM'].fork_epoch / campaign.epochs * 100  # images of 100
    assert 0 < fork < 100
    costs = dict(MAE=dict(gflop=1.0), EHM=dict(gflop=3.0))
    assert operations(campaign, costs, 'MAE', 70, 100) == 70
    assert operations(campaign, costs, 'EHM', fork / 2, 100) == fork / 2
    assert operations(campaign, costs, 'EHM', 100, 100) == fork + 3 * (100 - fork)


def test_only_some_methods_are_tuned(declare):
    tuning = dict(labels=[1.0], epochs=2, scratch=[1])
    campaign = read_campaign(declare(tuning=tuning | dict(methods=['EHM'])))
    assert [run.name for run in list_runs(campaign) if run.fraction][:2] == [
        'EHM_seed0_tuned_1',
        'EHM_seed0_scratch1x_1',
    ]
    with pytest.raises(ValueError, match=r"tuning.methods='MEA' is none of \['MAE', 'EHM'\]"):
        read_campaign(declare(tuning=tuning | dict(methods=['MEA'])))


def test_a_run_or_a_part_of_the_names_chooses_what_is_run(declare, tmp_path):
    tuning = dict(labels=[1.0], epochs=2, scratch=[1], methods=['EHM'])
    campaign = read_campaign(declare(tuning=tuning))
    for only, names in {
        'EHM_seed0': ['EHM_seed0'],
        'EHM_seed0_': ['EHM_seed0_tuned_1', 'EHM_seed0_scratch1x_1'],
        'baselines': ['baselines'],
    }.items():
        runs = Conductor(campaign, tmp_path / 'work', tmp_path / 'results', only).runs
        assert [run.name for run in runs] == names


def test_all_fractions_of_labels_take_the_same_number_of_steps(declare, tmp_path):
    tuning = dict(labels=[0.2, 1.0], epochs=2, options={'train_dataloader.batch_size': 8})
    campaign = read_campaign(declare(tuning=tuning))
    assert [run.name for run in list_runs(campaign) if run.fraction == 0.2][:4] == [
        'MAE_seed0_tuned_0.2',
        'EHM_seed0_tuned_0.2',
        'MAE_seed0_scratch1x_0.2',
        'MAE_seed0_scratch3x_0.2',
    ]
    images = Images(campaign.data, tmp_path / 'lists')
    cfg = Config.fromfile(ROOT / MAE['config'])
    torch.save(
        dict(meta=dict(cfg=cfg.pretty_text), state_dict=build_model(cfg).state_dict()),
        tmp_path / 'start.pth',
    )
    small, whole, thrice = (
        tuning_config(campaign, images, tmp_path / 'start.pth', *options, seed=0)
        for options in ((0.2, 1), (1.0, 1), (1.0, 3))
    )
    lengths = [one.train_cfg.max_epochs for one in (small, whole, thrice)]
    assert lengths == [10, 2, 6]
    assert small.train_dataloader.dataset.subset.endswith('train-0.2-seed0.txt')
    assert whole.val_dataloader.dataset.prefix == 'val'
    assert whole.model.head.num_classes == 3
    assert whole.model.backbone.arch.embed_dims == 128


@pytest.fixture
def conducted(declare, tmp_path, monkeypatch):
    """A campaign in which 'training' gives a network other random weights."""
    trained = []

    def train(config, work_dir, seed, resume):
        assert resume
        trained.append((Path(config).stem, seed))
        cfg = Config.fromfile(config)
        meta = dict(cfg=cfg.pretty_text, epoch=4, iter=8)
        state = build_model(cfg, seed=seed + 7).state_dict()
        torch.save(dict(meta=meta, state_dict=state), work_dir / 'epoch_4.pth')

    monkeypatch.setattr('mmmask.lab.campaign.runs.run_training', train)
    monkeypatch.setattr('mmmask.lab.campaign.reading.STRENGTHS', (0.1,))
    monkeypatch.setattr(Conductor, '_measure_costs', lambda self: {})
    reading = dict(layers=[0, 5], grids=['mean'], k=3, labels=[1.0])
    path = declare(methods=dict(MAE=MAE), points=1, reading=reading)
    run_campaign(path, tmp_path / 'work', only='seed1')
    run_campaign(path, tmp_path / 'work')
    return path, trained


def test_a_campaign_runs_what_is_missing(conducted, tmp_path):
    path, trained = conducted
    assert trained == [('MAE', 1), ('MAE', 0)]
    folder = tmp_path / 'signs'
    results = {file.stem: json.loads(file.read_text()) for file in folder.glob('*.json')}
    assert results.keys() == {'baselines', 'costs', 'MAE_seed0', 'MAE_seed1'}
    one = results['MAE_seed0']
    assert [point['images'] for point in one['curve']] == [0, 288]
    assert one['curve'][0]['knn_val'] == one['random']['knn_val'] != one['knn_val']
    assert one['curve'][-1]['knn_val'] == one['knn_val']

    top1 = [run['knn_test'][run['chosen']] for name, run in results.items() if 'MAE' in name]
    row = re.search(r'\| MAE .*', (folder / 'README.md').read_text()).group()
    assert str(estimate(top1)) in row
    assert (folder / 'accuracy.png').is_file()

    trained.clear()
    name = Run('MAE', 0).name
    (tmp_path / 'signs' / f'{name}.json').unlink()
    with open(tmp_path / 'work' / 'signs' / name / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as another process that is at this run
        run_campaign(path, tmp_path / 'work')
        assert trained == []
    run_campaign(path, tmp_path / 'work')
    assert trained == [('MAE', 0)]


def test_results_of_another_declaration_are_not_used(conducted, declare, tmp_path):
    changed = dict(layers=[0, 5], grids=['mean'], k=5, labels=[1.0])
    path = declare(methods=dict(MAE=MAE), points=1, reading=changed)
    with pytest.raises(ValueError, match=r'baselines.json was measured with reading.k=3, .* 5:'):
        run_campaign(path, tmp_path / 'work', action='report')
    changed['k'] = 3
    slower = MAE | dict(options=FAST | {'optim_wrapper.optimizer.lr': 0.1})
    path = declare(methods=dict(MAE=slower), points=1, reading=changed)
    key = 'methods.MAE.options.optim_wrapper.optimizer.lr'
    with pytest.raises(ValueError, match=rf'costs.json was measured with {key}=None, .* 0.1:'):
        run_campaign(path, tmp_path / 'work')
    for file in (tmp_path / 'signs').glob('*.json'):
        file.unlink()
    with pytest.raises(ValueError, match='configs/MAE.py was written for another declaration'):
        run_campaign(path, tmp_path / 'work', only='seed0')


def test_another_method_leaves_all_but_costs_valid(conducted, declare, tmp_path):
    """Costs are measured in turns, so all methods of a table must take part."""
    (tmp_path / 'signs' / 'costs.json').unlink()
    reading = dict(layers=[0, 5], grids=['mean'], k=3, labels=[1.0])
    path = declare(methods=dict(MAE=MAE, Other=MAE), points=1, reading=reading)
    conductor = Conductor(read_campaign(path), tmp_path / 'work', tmp_path / 'signs', 'MAE')
    assert conductor.results().keys() == {'MAE_seed0', 'MAE_seed1', 'baselines'}
    assert conductor.starts == ['MAE']  # of two methods with the same encoder


def test_backbones_are_exported_with_what_was_measured(conducted, tmp_path):
    timm = pytest.importorskip('timm', reason="writes for timm: pip install 'mmmask[export]'")
    path, _ = conducted
    with open(path, 'a') as file:
        file.write('license: CC0-1.0\n')
    run_campaign(path, tmp_path / 'work', export=tmp_path / 'out')
    card = (tmp_path / 'out' / 'mae' / 'README.md').read_text()
    result = json.loads((tmp_path / 'signs' / 'MAE_seed0.json').read_text())
    top1, linear = result['knn_test'][result['chosen']], result['linear']['1'][0]
    assert f'| MAE | {result["chosen"]} | {top1:.1f} | {linear:.1f} |' in card
    assert '| pixels |' in card and 'No accuracy is stated' not in card
    assert 'the campaign "Signs"; their licence is CC0-1.0.' in card
    trained = torch.load(tmp_path / 'work' / 'signs' / 'MAE_seed0' / 'epoch_4.pth')['state_dict']
    network = timm.create_model(f'local-dir:{tmp_path / "out" / "mae"}', pretrained=True)
    weight = network.blocks[5].mlp.fc2.weight
    assert torch.equal(weight, trained['backbone.layers.5.ffn.layers.1.weight'])

    (tmp_path / 'work' / 'signs' / 'MAE_seed0' / 'epoch_4.pth').unlink()
    with pytest.raises(FileNotFoundError, match='remove MAE_seed0.json, so that the training'):
        run_campaign(path, tmp_path / 'work', export=tmp_path / 'out')
    with pytest.raises(ValueError, match='no finished training with seed 0 to export'):
        run_campaign(path, tmp_path / 'work', only='EHM', export=tmp_path / 'out')


def test_a_fork_waits_for_its_parent(declare, tmp_path):
    path = declare()
    with pytest.raises(ValueError, match='MAE_seed0 must be run first'):
        run_campaign(path, tmp_path / 'work', only='EHM_seed0')

    conductor = Conductor(read_campaign(path), tmp_path / 'work', tmp_path / 'signs')
    parent = Run('EHM', 0).parent(conductor.campaign)
    assert parent == Run('MAE', 0) and parent.parent(conductor.campaign) is None
    with ThreadPoolExecutor() as pool:
        with conductor._claim(parent) as is_mine:
            assert is_mine
            waiting = pool.submit(conductor._wait_for, parent)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
            content = dict(declared=parent.declared(conductor.campaign))
            (tmp_path / 'signs').mkdir(exist_ok=True)
            (tmp_path / 'signs' / f'{parent.name}.json').write_text(json.dumps(content))
        waiting.result(timeout=20)


def test_weights_before_a_fork_are_those_of_the_parent(declare, tmp_path):
    """The parent has no copy of the encoder, which the fork parses images with."""
    early = EHM | dict(fork_epoch=3)
    campaign = read_campaign(declare(methods=dict(MAE=MAE, EHM=early), points=4))
    conductor = Conductor(campaign, tmp_path / 'work', tmp_path / 'signs')
    parent = build_model(Config.fromfile(conductor.configs['MAE']), seed=5)
    conductor.checkpoint(Run('MAE', 0), 2).parent.mkdir(parents=True)
    torch.save(dict(state_dict=parent.state_dict()), conductor.checkpoint(Run('EHM', 0), 2))
    loaded = conductor._load(Run('EHM', 0), 2)
    assert type(loaded).__name__ == 'MAE'
    assert torch.equal(loaded.backbone.pos_embed, parent.backbone.pos_embed)
    assert torch.equal(loaded.backbone.cls_token, parent.backbone.cls_token)
    assert conductor.checkpoint(Run('EHM', 0), 3).parent.name == 'EHM_seed0'


def test_layers_of_another_encoder(declare, tmp_path):
    convolutions = dict(config='configs/demo/spark_resnet-tiny_digits.py', layers=[1])
    campaign = read_campaign(declare(methods=dict(MAE=MAE, SparK=convolutions)))
    assert (campaign.layers('MAE'), campaign.layers('SparK')) == ([0, 5], [1])
    conductor = Conductor(campaign, tmp_path / 'work', tmp_path / 'signs')
    assert conductor.starts == ['MAE', 'SparK']
    model = build_model(Config.fromfile(conductor.configs['SparK']))
    features = conductor._extract(Run('SparK'), model, 'val')
    assert {name: tuple(part.shape) for name, part in features.values.items()} == {
        '1/mean': (18, 64),
        '1/2x2': (18, 256),
    }


def test_tables(declare, tmp_path):
    """Two methods, two seeds; figures that are easily checked by hand."""
    reading = dict(layers=[5], grids=['mean'], k=3, labels=[1.0])
    tuning = dict(labels=[0.5], epochs=1, scratch=[1])
    methods = dict(MAE=MAE, Other=MAE)
    campaign = read_campaign(declare(methods=methods, points=1, reading=reading, tuning=tuning))

    def run(top1: float, linear: float) -> dict:
        scores = dict(chosen='5/mean', knn_val={'5/mean': top1}, knn_test={'5/mean': top1 - 1})
        scores['linear'] = {'1': [linear]}
        curve = [dict(images=i, knn_val={'5/mean': v}) for i, v in ((0, 10.0), (288, top1))]
        return dict(scores, random=scores, curve=curve)

    results = dict(
        baselines=dict(
            knn_val=dict(pixels=20.0),
            knn_test=dict(pixels=19.0),
            linear=dict(pixels={'1': [33.3]}),
        ),
        costs=dict(
            methods=dict(MAE=dict(gflop=2.0, seconds=0.1), Other=dict(gflop=1.0, seconds=0.05))
        ),
        MAE_seed0=run(30.0, 50.0),
        MAE_seed1=run(30.0, 52.0),
        Other_seed0=run(50.0, 51.0),
        Other_seed1=run(50.0, 55.0),
        **{'MAE_seed0_tuned_0.5': dict(top1=60.0), 'MAE_seed1_tuned_0.5': dict(top1=62.0)},
        **{'Other_seed0_tuned_0.5': dict(top1=61.0), 'Other_seed1_tuned_0.5': dict(top1=65.0)},
        **{'MAE_seed1_scratch1x_0.5': dict(top1=58.0)},
    )
    text = write_summary(campaign, results, OutputFolder(tmp_path / 'out'))
    assert '| pixels |  | 19.0 | 33.3 |' in text
    assert '| MAE | 5/mean | 29.0 ± 0.0 | 51.0 ± 12.7 |' in text
    # Differences of 1 and 3: t = 2 with one degree of freedom, of which the p-value is 0.3.
    assert '| Other | 2 | 20.0 ± 0.0 | 2.0 ± 12.7 (p = 0.3) |' in text
    assert '| MAE | 61.0 ± 12.7 |  |' in text
    assert '| Other | 63.0 ± 25.4 | 2.0 ± 12.7 (p = 0.3) |' in text
    assert '| random weights, 1 × the steps | 58.0 | -4.0 |' in text
    # Half the way from 10 to 50, at half the cost of an image.
    assert '| Other | 1.000 | 20 | 0.25 |' in text
    assert text.startswith('<!-- written by mmmask')
    assert (tmp_path / 'out' / 'README.md').read_text() == text
    (tmp_path / 'out' / 'README.md').write_text('my notes')
    with pytest.raises(FileExistsError, match='was not written by mmmask'):
        write_summary(campaign, results, OutputFolder(tmp_path / 'out'))


@pytest.mark.parametrize('draw', [summary._draw_curves, summary._draw_labels])
def test_lines_of_fourteen_methods_can_be_told_apart(draw):
    campaign = read_campaign(ROOT / 'docs/campaign/clothing10.yaml')
    files = (ROOT / 'docs/campaign/clothing10').glob('*.json')
    figure = summary.plot(draw, campaign, {one.stem: json.loads(one.read_text()) for one in files})
    pixels = figure_pixels(figure)
    (axes,) = figure.axes
    lines = [one for one in axes.lines if one.get_linestyle() != 'None']  # not ends of error bars
    looks = [(one.get_color(), one.get_marker(), one.get_linestyle()) for one in lines]
    assert len(set(looks)) == len(looks) >= 16
    legend = axes.get_legend()
    assert len(legend.get_texts()) == len(looks)
    place = legend.get_window_extent()
    assert 0 <= place.y0 < place.y1 <= len(pixels)
    assert place.x1 <= pixels.shape[1]
