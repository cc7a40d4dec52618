"""The benchmark of the loader compares samples of the same files."""

import numpy as np
import torch
from PIL import Image

from mmmask.lab.benchmark import benchmark_component
from mmmask.lab.benchmark.loader import SIZE, loader_calls, write_photographs


def test_photographs_have_the_size_of_imagenet(tmp_path):
    write_photographs(tmp_path / 'images', 5)
    images = [Image.open(path) for path in sorted((tmp_path / 'images').iterdir())]
    assert [(image.format, image.size) for image in images] == [('JPEG', SIZE)] * 5
    pixels = [np.asarray(image).tobytes() for image in images]
    assert len(set(pixels)) == 5


def test_candidates():
    report = benchmark_component('loader', batch_size=4, img_size=64, iters=1, warmup=0)
    assert [result.name for result in report.results] == [
        "mmpretrain's MAE pipeline",
        'mmmask',
        'mmmask, repeats=4',
        'mmmask, cache_side=80',
        'mmmask, cache_side=143',
    ]
    theirs, *ours = report.results
    assert theirs.ratio == 1 and all(0 < result.ratio < 1 for result in ours)
    assert torch.get_num_threads() == 1


def test_there_is_no_cache_of_images_as_large_as_the_files():
    assert [name for name in loader_calls(1, 384, torch.device('cpu')) if 'cache' in name] == []
