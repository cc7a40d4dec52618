"""The linear probe. ``python tests/evaluation/test_linear_probe.py CHECKPOINT`` compares probes.

It prints the accuracy of each kind of probe on features that the checkpoint gives for photographs.
"""

import io
import math
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmpretrain.engine.optimizers import LARS
from PIL import Image
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from mmmask.checkpoints import load_backbone
from mmmask.evaluation import linear_probe, majority_warning
from mmmask.evaluation.linear_probe import hold_out
from mmmask.models import MaskedVisionTransformer

PHOTOGRAPHS = Path(__file__).parents[2] / 'demo/clothing10.zip'


@pytest.fixture(scope='module')
def digits():
    data = load_digits(n_class=4)
    return torch.from_numpy(data.data).float(), torch.from_numpy(data.target)


def reference(features, labels, queries, regularization):
    """Softmax regression on standardised features, minimised by SciPy."""
    features, queries = features.double().numpy(), queries.double().numpy()
    mean, deviation = features.mean(0), features.std(0)
    deviation[deviation == 0] = 1
    features, queries = (features - mean) / deviation, (queries - mean) / deviation
    hot = np.eye(labels.max() + 1)[labels.numpy()]
    shape = (features.shape[1] + 1, hot.shape[1])

    def objective(flat):
        weight, bias = flat.reshape(shape)[:-1], flat.reshape(shape)[-1]
        logits = features @ weight + bias
        logits -= logits.max(1, keepdims=True)
        log_probability = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        value = -(hot * log_probability).sum(1).mean() + regularization / 2 * (weight**2).sum()
        error = (np.exp(log_probability) - hot) / len(features)
        return value, np.vstack(
            [features.T @ error + regularization * weight, error.sum(0)]
        ).ravel()

    best = minimize(objective, np.zeros(shape).ravel(), jac=True).x.reshape(shape)
    return (queries @ best[:-1] + best[-1]).argmax(1)


@pytest.mark.parametrize('regularization', [0.01, 10.0])
def test_equals_a_reference(digits, regularization):
    noise = torch.randn(digits[0].shape, generator=torch.Generator().manual_seed(0))
    features, labels = digits[0] + noise * 8, digits[1]
    train = slice(0, 500)
    expected = reference(features[train], labels[train], features[500:], regularization)
    probe = linear_probe(
        features[train], labels[train], features[500:], labels[500:], regularization
    )
    assert (probe.predictions.numpy() == expected).mean() > 0.99
    assert probe.regularization == regularization
    right = (probe.predictions == labels[500:]).float().mean().item()
    assert probe.accuracy == pytest.approx(100 * right)
    assert probe.accuracy > 60


@pytest.mark.parametrize('regularization', [0.001, 0.1, 10.0])
def test_fewer_images_than_features_equal_a_reference(digits, regularization):
    random = torch.randn(64, 200, generator=torch.Generator().manual_seed(0))
    features, labels = digits[0] @ random, digits[1]
    train = torch.arange(60)
    expected = reference(features[train], labels[train], features[60:], regularization)
    probe = linear_probe(features[train], labels[train], features[60:], labels[60:], regularization)
    assert (probe.predictions.numpy() == expected).mean() > 0.99
    assert 80 < probe.accuracy < 100


def test_scale_and_shift_of_features_do_not_count(digits):
    features, labels = digits
    moved = features * torch.logspace(-2, 2, 64) + 7
    first, second = (
        linear_probe(f[:400], labels[:400], f[400:], labels[400:], 0.01) for f in (features, moved)
    )
    assert (first.predictions == second.predictions).float().mean() > 0.995


def test_the_regularization_is_the_best_on_the_held_out_part(digits):
    """Few images with much noise need a strong one; scikit-learn makes the same choice."""
    noise = torch.randn(digits[0].shape, generator=torch.Generator().manual_seed(0))
    features, labels = (digits[0] + noise * 16)[:300], digits[1][:300]
    candidates = (1.0, 1e-2, 1e-4)
    probe = linear_probe(features, labels, features, labels, candidates)
    train, held_out = ~hold_out(labels), hold_out(labels)
    scaled = StandardScaler().fit_transform(features.numpy())
    scores = []
    for candidate in candidates:
        strength = 1 / (candidate * int(train.sum()))
        model = LogisticRegression(C=strength, max_iter=1000).fit(scaled[train], labels[train])
        scores.append(model.score(scaled[held_out], labels[held_out]))
    assert scores[0] > max(scores[1:])
    assert probe.regularization == candidates[0]


def test_test_labels_have_no_influence(digits):
    features, labels = digits
    probes = [
        linear_probe(features[:200], labels[:200], features[200:], given)
        for given in (labels[200:], torch.zeros_like(labels[200:]))
    ]
    assert probes[0].regularization == probes[1].regularization
    assert probes[0].predictions.equal(probes[1].predictions)
    assert probes[1].majority == 100


def test_hold_out_takes_a_part_of_each_class():
    labels = torch.tensor([0] * 10 + [1] * 5 + [2] * 4)
    held_out = hold_out(labels)
    assert labels[held_out].bincount().tolist() == [2, 1]
    assert held_out.equal(hold_out(labels))
    assert hold_out(torch.tensor([0, 0, 0, 1])).sum() == 1
    with pytest.raises(ValueError, match='no class has two of the 3 training images'):
        hold_out(torch.arange(3))


def test_the_majority_is_that_of_the_test_labels():
    features = torch.eye(4)
    labels = torch.tensor([0, 0, 1, 1])
    probe = linear_probe(features, labels, features, torch.tensor([1, 1, 1, 0]), 0.01)
    assert probe.majority == 75
    assert probe.predictions.tolist() == [0, 0, 1, 1]
    assert probe.accuracy == 25


def lars_probe(features, labels, queries):
    """The recipe for ImageNet-1K with LARS on weight and bias: 90 epochs of batches of 256."""
    norm = nn.BatchNorm1d(features.shape[1], affine=False, eps=1e-6)
    head = nn.Linear(features.shape[1], 2)
    nn.init.trunc_normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    optimizer = LARS(head.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(90):
        cosine = (1 + math.cos(math.pi * (epoch - 10) / 80)) / 2
        optimizer.param_groups[0]['lr'] = 0.1 * (epoch / 10 if epoch < 10 else cosine)
        for batch in torch.randperm(len(features)).split(256):
            optimizer.zero_grad()
            F.cross_entropy(head(norm(features[batch])), labels[batch]).backward()
            optimizer.step()
    return head(norm.eval()(queries)).argmax(1)


def test_few_images_from_which_the_recipe_for_a_million_learns_nothing():
    """Two classes with 67 and 33 % of the images: LARS hardly moves the weights it starts from."""
    torch.manual_seed(0)
    labels = (torch.rand(1300) > 0.669).long()
    features = torch.randn(1300, 32)
    features[:, 0] += 1.5 * labels
    features = features @ torch.randn(32, 32)
    parts = features[:700], labels[:700], features[700:]
    old = 100 * (lars_probe(*parts) == labels[700:]).float().mean().item()
    probe = linear_probe(*parts, labels[700:])
    reference = LogisticRegression(max_iter=1000).fit(parts[0], parts[1])
    expected = 100 * reference.score(parts[2], labels[700:])
    assert old < probe.majority < probe.accuracy - 5
    assert probe.accuracy == pytest.approx(expected, abs=2)
    assert majority_warning('old', old, labels[700:]).startswith(f'old is {old:.2f} %, below the')
    assert majority_warning('new', probe.accuracy, labels[700:]) is None


def test_few_images_are_classified_as_well_as_by_a_logistic_regression():
    """On the average of sets like the one above, within a point."""
    scores = []
    for seed in range(8):
        random = np.random.default_rng(seed)
        labels = torch.from_numpy(random.random(1300) > 0.669).long()
        features = random.normal(size=(1300, 32))
        features[:, 0] += 1.5 * labels.numpy()
        features = torch.from_numpy(features @ random.normal(size=(32, 32))).float()
        probe = linear_probe(features[:700], labels[:700], features[700:], labels[700:])
        reference = LogisticRegression(max_iter=1000).fit(features[:700], labels[:700])
        scores.append((probe.accuracy, 100 * reference.score(features[700:], labels[700:])))
        assert probe.accuracy > probe.majority + 3
    accuracy, expected = np.mean(scores, axis=0)
    assert accuracy >= expected - 1


def describe_photographs(checkpoint=None, step=1):
    """(N, 128) features of grey photographs of t-shirts and trousers, and (N,) labels.

    The network is that of ``configs/demo/localmim_vit-tiny_digits.py``, by default with random
    weights. Its last patches are averaged. There are 1,393 photographs.
    """
    torch.manual_seed(0)
    arch = dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512)
    network = MaskedVisionTransformer(arch, img_size=64, patch_size=8, final_norm=True)
    if checkpoint:
        load_backbone(network, checkpoint)
    network.eval()
    with zipfile.ZipFile(PHOTOGRAPHS) as archive:
        names = [n for n in sorted(archive.namelist()) if n.startswith(('t-shirt/', 'pants/'))]
        files = [io.BytesIO(archive.read(name)) for name in names[::step]]
    pixels = [np.asarray(Image.open(file).convert('L').resize((64, 64))) for file in files]
    images = (torch.from_numpy(np.stack(pixels)).float() - 118) / 57
    with torch.no_grad():
        batches = images[:, None].expand(-1, 3, -1, -1).split(64)
        features = torch.cat([network(batch)[-1][:, 1:].mean(1) for batch in batches])
    return features, torch.tensor([name.startswith('t-shirt/') for name in names[::step]]).long()


def compare_probes(features, labels) -> dict[str, float]:
    """Top-1 in percent on every fifth image, of each kind of probe fitted to the others."""
    torch.manual_seed(0)
    test = torch.arange(len(labels)) % 5 == 4
    parts = features[~test], labels[~test], features[test]
    probe = linear_probe(*parts, labels[test])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    strengths = {'logisticregression__C': np.logspace(-4, 1, 6)}
    reference = GridSearchCV(pipeline, strengths, cv=4)
    reference.fit(parts[0], parts[1])
    return {
        'the most frequent class': probe.majority,
        'recipe for ImageNet-1K': 100 * (lars_probe(*parts) == labels[test]).float().mean().item(),
        'converged probe': probe.accuracy,
        'logistic regression of scikit-learn': 100 * reference.score(parts[2], labels[test]),
    }


def test_photographs():
    """On features of real images the probe is as good as a logistic regression of scikit-learn."""
    majority, old, new, reference = compare_probes(*describe_photographs(step=2)).values()
    assert majority == pytest.approx(100 * 88 / 139)
    assert new > max(majority, old) + 10
    assert new == pytest.approx(reference, abs=3)


def main() -> None:
    print('| probe | top-1 |\n|---|---|')
    for name, score in compare_probes(*describe_photographs(*sys.argv[1:])).items():
        print(f'| {name} | {score:.1f} |')


if __name__ == '__main__':
    main()
