import io
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from PIL import Image
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader

from mmmask.apis.visualize import build_model
from mmmask.datasets.digits import load_digits, split_digits
from mmmask.evaluation import extract_features
from mmmask.lab.compare import (
    Features,
    compare_runs,
    comparison_table,
    few_of_each,
    labelled_sets,
    raw_pixels,
    score_features,
)
from mmmask.lab.demo import CONFIG


def test_few_of_each():
    labels = torch.tensor([2, 0, 2, 2, 0, 0, 2, 1, 0])
    draws = [few_of_each(labels, 3, seed) for seed in range(20)]
    for chosen in draws:
        assert labels[chosen].tolist() == [0, 0, 0, 1, 2, 2, 2]
        assert len(chosen.unique()) == 7
    assert {i for chosen in draws for i in chosen.tolist()} == set(range(9))


def test_scores_of_features():
    cfg = Config.fromfile(CONFIG)
    models = [build_model(cfg, seed=seed) for seed in (0, 0, 1)]
    train, val = labelled_sets(cfg)
    train, val = train.get_subset(range(0, 4000, 10)), val.get_subset(range(0, 1000, 10))
    readers = {f'model {i}': partial(extract_features, model) for i, model in enumerate(models)}
    readers['raw pixels'] = raw_pixels
    loaders = [DataLoader(part, 256, collate_fn=default_collate) for part in (train, val)]
    scores = score_features(
        {
            name: Features(*(part for loader in loaders for part in read(loader)))
            for name, read in readers.items()
        }
    )
    assert list(scores) == ['model 0', 'model 1', 'model 2', 'raw pixels']
    assert scores['model 0'] == scores['model 1'] != scores['model 2']

    images, labels = load_digits()
    parts = [split_digits(labels, 'train')[::10], split_digits(labels, 'val')[::10]]
    pixels = [
        np.stack(
            [
                np.asarray(Image.fromarray(images[i]).resize((64, 64), Image.BICUBIC))
                .reshape(32, 2, 32, 2)
                .mean(axis=(1, 3))
                .ravel()
                for i in part
            ]
        )
        for part in parts
    ]
    scaler = StandardScaler().fit(pixels[0])
    # Three equal channels count three times, hence a third of the regularisation.
    probe = LogisticRegression(C=3 / (0.01 * 400), max_iter=1000)
    probe.fit(scaler.transform(pixels[0]), labels[parts[0]])
    expected = probe.score(scaler.transform(pixels[1]), labels[parts[1]]) * 100
    assert scores['raw pixels']['linear probe'] == pytest.approx(expected, abs=1.01)


@pytest.fixture(scope='module')
def compared(tmp_path_factory):
    """Two configs, two seeds; 'training' leaves the weights of the seed, or in 'two' of another."""
    folder = tmp_path_factory.mktemp('compare')
    configs = [folder / 'one.py', folder / 'two.py']
    for path in configs:
        cfg = Config.fromfile(CONFIG)
        knn = next(hook for hook in cfg.custom_hooks if hook.type == 'mmmask.OnlineKNNHook')
        knn.bank.indices, knn.query.indices = list(range(0, 4000, 16)), list(range(0, 1000, 16))
        cfg.dump(path)

    def train(config, work_dir, seed, options, resume):
        assert (list(options), resume) == (['a=1'], True)
        work_dir.mkdir(parents=True)
        model = build_model(Config.fromfile(config), seed=seed + 7 * (config.stem == 'two'))
        torch.save(dict(state_dict=model.state_dict()), work_dir / 'epoch_1.pth')
        (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))
        shutil.copy(config, work_dir)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmmask.lab.compare.run_training', train)
        return configs, folder / 'work', compare_runs(configs, [0, 1], folder / 'work', ['a=1'])


def test_seeds_are_shared_and_training_is_what_differs(compared):
    results = compared[2]
    assert list(results) == ['one', 'two']
    for seed in (0, 1):
        one, two = results['one'][seed], results['two'][seed]
        assert one['raw pixels'] == two['raw pixels']
        assert one['random backbone'] == two['random backbone'] == one['pre-trained backbone']
        assert two['pre-trained backbone'] != two['random backbone']
    assert results['one'][0]['random backbone'] != results['one'][1]['random backbone']


def test_table(compared):
    results = compared[2]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(comparison_table(results, [0, 1]))
    row = next(line for line in console.export_text().splitlines() if ' one ' in line)
    first, second = (run['pre-trained backbone']['k-NN'] for run in results['one'])
    assert f'{(first + second) / 2:.1f} ({first:.1f}, {second:.1f})' in row


def test_what_is_done_is_not_repeated(compared, monkeypatch):
    configs, work, results = compared
    monkeypatch.setattr('mmmask.lab.compare.run_training', None)
    assert compare_runs(configs, [0, 1], work) == results


def test_two_configs_of_one_name_are_refused(compared):
    configs, work, _ = compared
    with pytest.raises(ValueError, match='two configs are named one, and their runs would share'):
        compare_runs([configs[0], configs[0].parent / 'other' / 'one.py'], [0], work)


def test_config_without_labels(tmp_path):
    cfg = Config.fromfile(CONFIG)
    cfg.custom_hooks = []
    cfg.dump(tmp_path / 'config.py')
    with pytest.raises(ValueError, match='config.py has no mmmask.OnlineKNNHook'):
        labelled_sets(Config.fromfile(tmp_path / 'config.py'))


def test_a_failed_training_shows_why(tmp_path):
    with pytest.raises(SystemExit, match='(?s)model.masking.ratio.*The training failed'):
        compare_runs([CONFIG], [0], tmp_path, ['model.masking.ratio=1.5'])
