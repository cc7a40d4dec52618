"""Observing a model changes nothing, also when the observer fails."""

import random

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmpretrain.models.utils import SelfSupDataPreprocessor
from torch import nn

from mmmask.evaluation import observing, unwrap


class Model(BaseModel):
    def __init__(self):
        super().__init__(SelfSupDataPreprocessor(mean=[1, 1, 1], std=[2, 2, 2]))
        self.layer, self.dropout = nn.Linear(2, 2), nn.Dropout()

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.dropout(self.layer(inputs))


BATCH = dict(inputs=torch.full((2, 3, 4, 4), 5), data_samples=[])


def states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def test_modes_gradients_and_random_states():
    model = Model().train()
    model.layer.eval()
    before = states()
    with pytest.raises(KeyError), observing(model, BATCH) as (observed, _):
        assert observed is model and not torch.is_grad_enabled()
        assert not any(module.training for module in model.modules())
        random.random(), np.random.rand(), torch.rand(1)  # noqa: B018, NPY002
        raise KeyError
    assert states() == before and torch.is_grad_enabled()
    assert model.training and model.dropout.training and not model.layer.training


def test_images_are_normalised_and_those_of_the_first_view():
    with observing(Model(), BATCH) as (_, images):
        assert torch.equal(images, torch.full((2, 3, 4, 4), 2.0))
    views = dict(inputs=[BATCH['inputs'], BATCH['inputs'] + 2], data_samples=[])
    with observing(Model(), views) as (_, images):
        assert torch.equal(images, torch.full((2, 3, 4, 4), 2.0))
    with observing(Model()) as (_, images):
        assert images is None


def test_a_wrapped_model_is_unwrapped(tmp_path):
    model = Model()
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/rendezvous', rank=0, world_size=1
    )
    try:
        wrapped = MMDistributedDataParallel(model)
        with observing(wrapped) as (observed, _):
            assert observed is model is unwrap(wrapped) and not model.training
        assert model.training
    finally:
        torch.distributed.destroy_process_group()
