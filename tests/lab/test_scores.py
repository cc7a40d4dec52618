import io
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
from mmmask.lab.demo import CONFIG
from mmmask.lab.scores import (
    Features,
    few_of_each,
    labelled_sets,
    raw_pixels,
    run_training,
    score_features,
    score_table,
)


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


def test_config_without_labels(tmp_path):
    cfg = Config.fromfile(CONFIG)
    cfg.custom_hooks = []
    cfg.dump(tmp_path / 'config.py')
    with pytest.raises(ValueError, match='config.py has no mmmask.OnlineKNNHook'):
        labelled_sets(Config.fromfile(tmp_path / 'config.py'))


def test_a_failed_training_shows_why(tmp_path):
    with pytest.raises(SystemExit, match='(?s)model.masking.ratio.*The training failed'):
        run_training(CONFIG, tmp_path, 0, ['model.masking.ratio=1.5'])


def test_table():
    scores = {
        'raw pixels': {'k-NN': 53.14, 'linear probe': 50.0},
        'pre-trained backbone': {'k-NN': 55.46, 'linear probe': 63.25},
    }
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(score_table(scores))
    lines = [line.split('│')[1:-1] for line in console.export_text().splitlines() if '│' in line]
    assert [[cell.strip() for cell in line] for line in lines] == [
        ['raw pixels', '53.1', '50.0'],
        ['pre-trained backbone', '55.5', '63.2'],
    ]
