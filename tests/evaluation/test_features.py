import pytest
import torch
from mmengine.dataset import default_collate
from mmengine.model import BaseModel
from mmpretrain.models.utils import SelfSupDataPreprocessor
from mmpretrain.structures import DataSample
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mmmask.evaluation import extract_features, pool


class Backbone(nn.Module):
    """Tokens that show their origin: class token −1; patch n is the mean of the image + n."""

    num_extra_tokens = 1

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.dropout = nn.Dropout()

    def forward(self, images):
        patches = images.mean(dim=(1, 2, 3)).view(-1, 1, 1) + torch.arange(4.0).view(1, 4, 1)
        tokens = torch.cat([torch.full_like(patches[:, :1], -1), patches], dim=1)
        return torch.zeros_like(tokens), self.dropout(tokens * self.scale).expand(-1, -1, 2)


class Algorithm(BaseModel):
    def __init__(self):
        super().__init__(SelfSupDataPreprocessor(mean=[1, 1, 1], std=[2, 2, 2]))
        self.backbone = Backbone()

    def forward(self, inputs, data_samples=None, mode='tensor'):
        assert mode == 'tensor'
        return self.backbone(inputs)


def loader(labelled=True):
    samples = []
    for value in range(5):
        sample = DataSample()
        if labelled:
            sample.set_gt_label(value % 3)
        samples.append(dict(inputs=torch.full((3, 4, 4), value), data_samples=sample))
    return DataLoader(samples, batch_size=2, collate_fn=default_collate)


@pytest.mark.parametrize('progress', ['', 'features'])
def test_algorithm(progress):
    features, labels = extract_features(Algorithm(), loader(), progress=progress)
    expected = (torch.arange(5.0) - 1) / 2 + 1.5  # normalised, then the mean over patches 0 to 3
    torch.testing.assert_close(features, expected.view(5, 1).expand(5, 2))
    assert labels.tolist() == [0, 1, 2, 0, 1]


def test_class_token():
    features, _ = extract_features(Algorithm(), loader(), pooling='cls')
    assert (features == -1).all() and features.shape == (5, 2)


def test_without_labels():
    assert extract_features(Algorithm(), loader(labelled=False))[1] is None


def test_bare_backbone_and_pairs():
    images = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 4, 4)
    pairs = DataLoader(TensorDataset(images, torch.arange(5)), batch_size=3)
    features, labels = extract_features(Backbone(), pairs)
    assert features[:, 0].tolist() == [1.5, 2.5, 3.5, 4.5, 5.5]
    assert labels.tolist() == [0, 1, 2, 3, 4]


def test_every_module_gets_its_mode_back():
    model = Algorithm().train()
    model.backbone.dropout.eval()
    extract_features(model, loader())
    assert model.training and model.backbone.training and not model.backbone.dropout.training


def test_pool():
    tokens = torch.arange(24.0).view(2, 3, 4)
    assert pool(tokens, 'mean', 1)[0].tolist() == [6, 7, 8, 9]
    assert pool((tokens,), 'mean', 0)[1].tolist() == [16, 17, 18, 19]
    assert pool(tokens, 'cls', 1)[1].tolist() == [12, 13, 14, 15]
    assert pool(tokens.view(2, 3, 2, 2), 'mean')[0].tolist() == [1.5, 5.5, 9.5]
    assert pool(tokens[:, 0], 'mean')[0].tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="pooling='max' is not one of"):
        pool(tokens, 'max')
    with pytest.raises(ValueError, match="needs a class token, but there is none: use 'mean'"):
        pool(tokens.view(2, 3, 2, 2), 'cls')


def test_pool_of_parts():
    """(B, 1+36, 2) tokens of a 6 x 6 grid; parts are averaged, and stay in their order."""
    tokens = torch.arange(2 * 37 * 2.0).view(2, 37, 2) ** 2
    grid = tokens[:, 1:].numpy().reshape(2, 6, 6, 2)
    expected = grid.reshape(2, 2, 3, 2, 3, 2).mean(axis=(2, 4)).transpose(0, 3, 1, 2)
    expected = torch.from_numpy(expected.reshape(2, 8))
    assert torch.allclose(pool(tokens, '2x2', 1), expected)
    maps = torch.from_numpy(grid).permute(0, 3, 1, 2)
    assert torch.allclose(pool(maps, '2x2'), expected)
    assert torch.equal(pool(maps, 'all'), maps.flatten(1))
    assert torch.equal(pool(tokens, 'all', 1), maps.flatten(1))
    with pytest.raises(ValueError, match='12 patches do not form a square'):
        pool(torch.zeros(1, 13, 4), '4x4', 1)
