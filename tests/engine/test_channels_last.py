"""Results do not depend on the layout, also in the first step of several processes."""

import copy
from types import SimpleNamespace

import torch
from mmengine.model import MMDistributedDataParallel
from mmpretrain.models import SelfSupDataPreprocessor
from torch import distributed as dist
from torch import nn

from mmmask.engine.hooks import ChannelsLastHook


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.data_preprocessor = SelfSupDataPreprocessor(mean=[127.0] * 3, std=[60.0] * 3)
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))

    def forward(self, images):
        return self.layers(images)


def preprocess(model, inputs):
    return model.data_preprocessor(dict(inputs=inputs, data_samples=[]))['inputs']


def make_network(num_images):
    torch.manual_seed(0)
    return Network(), torch.randint(0, 256, (num_images, 3, 16, 16), dtype=torch.uint8)


def test_the_same_results():
    model, images = make_network(2)
    hook, runner = ChannelsLastHook(), SimpleNamespace(model=model)
    before = model(preprocess(model, images))
    hook.before_train(runner)
    for view in (preprocess(model, images), *preprocess(model, [images, images])):
        after = model(view)
        assert after.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(after, before)
    hook.after_train(runner)
    assert preprocess(model, images).is_contiguous()


def compare_gradients(rank, folder):
    torch.set_num_threads(1)  # the threads of the parent do not survive the fork
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    model, images = make_network(4)
    alone = copy.deepcopy(model)
    alone(preprocess(alone, images)).square().mean().backward()
    wrapped = MMDistributedDataParallel(model, device_ids=None)
    ChannelsLastHook().before_train(SimpleNamespace(model=wrapped))
    own = preprocess(model, images.chunk(2)[rank])
    for _ in range(2):
        wrapped.zero_grad()
        output = wrapped(own)
        assert output.is_contiguous(memory_format=torch.channels_last)
        output.square().mean().backward()
        for found, expected in zip(model.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(found.grad, expected.grad)


def test_gradients_of_two_processes(tmp_path):
    torch.multiprocessing.start_processes(
        compare_gradients, args=(tmp_path,), nprocs=2, start_method='fork'
    )
