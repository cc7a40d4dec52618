"""The backbone in ``demo/localmim`` has the accuracy that its card states."""

import re

import pytest
import torch
from conftest import ROOT
from mmengine.dataset import default_collate
from torch.utils.data import DataLoader

from mmmask.apis.own_network import read_backbone
from mmmask.checkpoints import CheckpointError, load_backbone
from mmmask.evaluation import accuracy, knn_classify
from mmmask.evaluation.features import pool
from mmmask.lab.campaign.declaration import read_campaign
from mmmask.lab.campaign.images import Images
from mmmask.registry import DATASETS, MODELS

FOLDER = ROOT / 'demo' / 'localmim'


@torch.no_grad()
def read(network, images, part):
    """(M, D) features of the last block, and (M,) labels, of a part of the campaign's images."""
    features, labels = [], []
    config = images.dataset(part)
    config['source'] = str(ROOT / config['source'])
    for batch in DataLoader(DATASETS.build(config), batch_size=256, collate_fn=default_collate):
        pixels = batch['inputs'].flip(1) / 255  # from blue, green, red
        mean, std = (
            torch.tensor(network.pretrained_cfg[key]).view(3, 1, 1) for key in ('mean', 'std')
        )
        tokens = network.forward_features((pixels - mean) / std)[:, 1:]
        maps = tokens.mT.unflatten(2, network.patch_embed.grid_size)
        features.append(pool(maps, '4x4').flatten(1))
        labels += [sample.gt_label for sample in batch['data_samples']]
    return torch.cat(features), torch.cat(labels)


def test_timm_measures_the_accuracy_of_the_card(tmp_path):
    timm = pytest.importorskip('timm', reason="reads the folder: pip install 'mmmask[export]'")
    card = (FOLDER / 'README.md').read_text()
    stated = float(re.search(r'\| LocalMIM \| 5/4x4 \| ([\d.]+) \|', card).group(1))
    network = timm.create_model(f'local-dir:{FOLDER}', pretrained=True).eval()
    campaign = read_campaign(ROOT / 'docs' / 'campaign' / 'clothing10.yaml')
    images = Images(campaign.data, tmp_path)
    bank, query = (read(network, images, part) for part in ('train', 'test'))
    measured = accuracy(knn_classify(*bank, query[0], campaign.reading.k), query[1])
    # Sums in another order may move an image or two of 682 to another class.
    assert measured == pytest.approx(stated, abs=0.4)


def test_its_number_of_heads_is_known():
    """It is in no tensor, only in config.json, and a network with another one is refused."""
    backbone = read_backbone(FOLDER)
    assert backbone['arch'] == dict(
        embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512
    )
    assert (backbone['img_size'], backbone['patch_size']) == (64, 8)
    backbone['arch'] = backbone['arch'] | dict(num_heads=8)
    network = MODELS.build(backbone | dict(type='mmpretrain.VisionTransformer'))
    with pytest.raises(CheckpointError, match='num_heads is 4 in the file but 8 in the network'):
        load_backbone(network, FOLDER)
