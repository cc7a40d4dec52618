"""A rehearsal finds what only data can show, and leaves the run as it was."""

import itertools
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, SMALL_CLASSIFIER
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.visualization import LocalVisBackend
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from mmmask.apis import train as apis
from mmmask.apis.classes import share_classes
from mmmask.apis.out_of_memory import OutOfMemory, explained_memory
from mmmask.apis.rehearsal import (
    RehearsalEnd,
    RehearsalError,
    RehearsalHook,
    Split,
    compare_classes,
    compare_depths,
    compare_labels,
    smallest_batch,
)
from mmmask.apis.train import build_runner, load_config, rehearse, train
from mmmask.checkpoints import CheckpointError
from mmmask.datasets import ImageFolder
from mmmask.registry import DATASETS

NUMBERS = itertools.count()
COLOURS = dict(a=(220, 20, 20), b=(20, 220, 20), c=(20, 20, 220), d=(220, 220, 20))
CLASSIFIER = (
    SMALL_CLASSIFIER
    + """
pipeline = [dict(type='mmpretrain.PackInputs')]
dataset = dict(type='mmmask.ImageFolder', source='', with_label=True, pipeline=pipeline)
train_dataloader = dict(
    batch_size=4, num_workers=0, drop_last=False, dataset=dict(**dataset, prefix='train'),
    sampler=dict(type='mmmask.ResumableSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=4, num_workers=0, dataset=dict(**dataset, prefix='val'),
    sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='mmpretrain.Accuracy', topk=(1,))
train_cfg = dict(type='mmmask.ResumableTrainLoop', max_epochs=1)
val_cfg = dict(type='ValLoop')
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
"""
)

FROZEN = """
default_scope = 'mmpretrain'
model = dict(
    type='mmpretrain.ImageClassifier',
    data_preprocessor=dict(mean=[127.0] * 3, std=[64.0] * 3, to_rgb=True),
    backbone=dict(
        type='mmmask.MaskedVisionTransformer', img_size=32, patch_size=8, out_indices=[0],
        arch=dict(embed_dims=32, num_layers=1, num_heads=2, feedforward_channels=64),
    ),
)
pipeline = [dict(type='mmpretrain.PackInputs')]
images = dict(type='mmmask.ImageFolder', source='data', with_label=True, pipeline=pipeline)
test_dataloader = dict(
    batch_size=4, num_workers=0, dataset=dict(**images, prefix='val'),
    sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
)
test_cfg = dict(type='mmmask.KNNTestLoop', k=3, bank=dict(**images, prefix='train'))
test_evaluator = []
"""
RETRIEVAL = FROZEN.replace("prefix='val'", "prefix='train'").replace(
    "type='mmmask.KNNTestLoop', k=3, bank=dict(**images, prefix='train')",
    "type='mmmask.RetrievalTestLoop', queries=dict(own=dict(**images, prefix='val'))",
)


def make_classes(folder, train='abc', val='abc', num_images=4, channels=3):
    """Flat images of one colour a class, in train/<class> and val/<class>."""
    for split, classes in (('train', train), ('val', val)):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            for index in range(num_images):
                pixels = np.full((32, 32, 3), COLOURS[name], np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f'{index}.png')


def rehearsal_of(folder, tmp_path, text=CLASSIFIER, **options):
    """Rehearse a training of the classifier on the images of a folder."""
    rehearse(load_config_of(folder, tmp_path, text, **options))


def load_config_of(folder, tmp_path, text=CLASSIFIER, pretrained=None, **options):
    config = tmp_path / 'classifier.py'
    config.write_text(text)
    for split in ('train', 'val'):
        options[f'{split}_dataloader.dataset.source'] = str(folder)
    options['experiment_name'] = str(next(NUMBERS))  # of two runs in one second
    work_dir = str(tmp_path / 'work')
    return load_config(config, options=options, work_dir=work_dir, pretrained=pretrained)


def rehearsal_of_test(text, folder, **options):
    """Rehearse a test of frozen features on the images in ``folder/data``."""
    config = folder / 'frozen.py'
    config.write_text(text.replace("source='data'", f"source='{folder / 'data'}'"))
    options['experiment_name'] = str(next(NUMBERS))
    cfg = load_config(config, options=options, work_dir=str(folder / 'work'))
    cfg.log_level = 'WARNING'
    runner, _ = build_runner(cfg)
    runner._init_model_weights()
    runner.register_hook(RehearsalHook(only=True))
    with pytest.raises(RehearsalEnd):
        runner.test()


def problems(*args, rehearsal=rehearsal_of, **options) -> list[str]:
    with pytest.raises(RehearsalError) as error:
        rehearsal(*args, **options)
    first, *lines = str(error.value).splitlines()
    count = '1 problem' if len(lines) == 1 else f'{len(lines)} problems'
    assert first == f'The rehearsal found {count}:'
    return [line.removeprefix('  - ') for line in lines]


def test_a_sound_run_prints_what_was_found_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '160')
    make_classes(tmp_path / 'data')
    rehearsal_of(tmp_path / 'data', tmp_path)
    text = ' '.join(capsys.readouterr().out.replace('│', ' ').split())
    for row in (
        'train_dataloader 12 images, 3 classes, 32 x 32 px, 3 channels',
        'val_dataloader 12 images, 3 classes, 32 x 32 px, 3 channels',
        'length 1 epochs of 3 iterations',
        'batch 4 x 1 processes x 1 accumulated = 4; learning rate 0.1 (absolute)',
        'optimizer OptimWrapper(SGD)',
        'parameters of head 99 trained, 0 frozen',
        '(3 iterations left)',
    ):
        assert row in text
    assert not (tmp_path / 'work').exists()


def test_a_class_that_validation_lacks_keeps_its_number(tmp_path):
    """Each class has one colour, so the labels of the validation set are 1 and 2."""
    make_classes(tmp_path / 'data', val='bc')
    rehearsal_of(tmp_path / 'data', tmp_path)
    cfg = Config.fromfile(tmp_path / 'classifier.py')
    cfg.merge_from_dict(
        {f'{split}_dataloader.dataset.source': str(tmp_path / 'data') for split in ('train', 'val')}
    )
    share_classes(cfg)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    assert dataset.metainfo['classes'] == ['a', 'b', 'c']
    assert [dataset.get_data_info(index)['gt_label'] for index in range(8)] == [1] * 4 + [2] * 4


@pytest.mark.parametrize('wrapper', ['RepeatDataset', 'ClassBalancedDataset', 'ConcatDataset'])
def test_classes_of_wrapped_folders(wrapper, tmp_path):
    """Training folders of a, b and of a, c, or of all three, number b and c as 1 and 2."""
    make_classes(tmp_path, val='bc')
    folder = dict(type='mmmask.ImageFolder', with_label=True)
    whole, val = ({**folder, 'source': str(tmp_path), 'prefix': name} for name in ('train', 'val'))
    options = dict(times=2) if wrapper == 'RepeatDataset' else dict(oversample_thr=0.5)
    inner = dict(dataset=whole, **options)
    if wrapper == 'ConcatDataset':
        for name in ('ab', 'ac'):
            for letter in name:
                shutil.copytree(tmp_path / 'train' / letter, tmp_path / name / letter)
        inner = dict(datasets=[{**whole, 'prefix': name} for name in ('ab', 'ac')])
    outer = dict(type='RepeatDataset', times=1, dataset=val)
    cfg = Config(
        dict(
            train_dataloader=dict(dataset=dict(type=wrapper, **inner)),
            val_dataloader=dict(dataset=outer),
        )
    )
    share_classes(cfg)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    assert dataset.metainfo['classes'] == ['a', 'b', 'c']
    assert [dataset.get_data_info(index)['gt_label'] for index in range(8)] == [1] * 4 + [2] * 4
    train_set = DATASETS.build(cfg.train_dataloader.dataset)
    labels = [train_set.get_data_info(index)['gt_label'] for index in range(len(train_set))]
    if wrapper == 'ConcatDataset':
        assert labels == [0] * 4 + [1] * 4 + [0] * 4 + [2] * 4
    else:  # each class has a third of the images, fewer than oversample_thr, and comes twice
        assert sorted(labels) == [0] * 8 + [1] * 8 + [2] * 8


def test_accuracies_where_validation_lacks_a_class(tmp_path):
    """Classes are flat colours, so k-NN and a classifier find all of them."""
    make_classes(tmp_path / 'data', val='bc')
    config = tmp_path / 'frozen.py'
    config.write_text(FROZEN.replace("source='data'", f"source='{tmp_path / 'data'}'"))
    cfg = load_config(
        config, work_dir=str(tmp_path / 'knn'), options=dict(experiment_name=str(next(NUMBERS)))
    )
    runner, _ = build_runner(cfg)
    runner._init_model_weights()
    assert runner.test() == {'knn3/cls': 100, 'knn3/mean': 100}
    options = {'train_cfg.max_epochs': 20, 'optim_wrapper.optimizer.lr': 0.05}
    runner = train(load_config_of(tmp_path / 'data', tmp_path, **options))
    assert runner.val_loop.run() == {'accuracy/top1': 100}


def test_a_class_that_only_validation_has(tmp_path):
    make_classes(tmp_path / 'data', val='abd')
    with pytest.raises(ValueError, match=r"metainfo\['classes'\] lacks \['d'\]"):
        rehearsal_of(tmp_path / 'data', tmp_path)


def test_queries_are_numbered_as_their_bank(tmp_path):
    make_classes(tmp_path, val='bc')
    folder = dict(type='mmmask.ImageFolder', source=str(tmp_path), with_label=True)
    bank, query = {**folder, 'prefix': 'train'}, {**folder, 'prefix': 'val'}
    cfg = Config(dict(test_dataloader=dict(dataset=bank), test_cfg=dict(queries=dict(a=query))))
    share_classes(cfg)
    assert cfg.test_cfg.queries.a.metainfo.classes == ['a', 'b', 'c']
    cfg = Config(
        dict(
            test_dataloader=dict(dataset=query),
            test_cfg=dict(bank=bank),
            custom_hooks=[dict(type='mmmask.OnlineKNNHook', bank=bank, query=query)],
        )
    )
    share_classes(cfg)
    assert cfg.test_dataloader.dataset.metainfo.classes == ['a', 'b', 'c']
    assert cfg.custom_hooks[0].query.metainfo.classes == ['a', 'b', 'c']
    assert 'metainfo' not in cfg.test_cfg.bank


def test_splits_whose_configs_name_other_classes(tmp_path):
    make_classes(tmp_path / 'data')
    found = problems(
        tmp_path / 'data',
        tmp_path,
        **{'val_dataloader.dataset.metainfo': dict(classes=['c', 'b', 'a', 'd'])},
    )
    assert found[0] == (
        "val_dataloader has other classes than train_dataloader: it adds ['d']. The same label "
        'would mean different classes: give both the same dataset.metainfo.classes.'
    )


def test_a_head_with_another_number_of_classes(tmp_path):
    make_classes(tmp_path / 'data')
    found = problems(tmp_path / 'data', tmp_path, **{'model.head.num_classes': 2})
    assert found == [
        'model.head.num_classes=2, but train_dataloader has 3 classes (a, b, c). Set it to 3.',
        'train_dataloader: labels [2] are not among the 2 classes of model.head (0 to 1), and are '
        'not ignored. Correct the labels, set num_classes, or name the value in ignore_index.',
        'val_dataloader: labels [2] are not among the 2 classes of model.head (0 to 1), and are '
        'not ignored. Correct the labels, set num_classes, or name the value in ignore_index.',
    ]


def test_a_detector_with_another_number_of_classes():
    """All heads count, apart from the one that finds foreground."""
    model = nn.Module()
    model.rpn_head, model.roi_head = nn.Module(), nn.Module()
    model.roi_head.bbox_head, model.roi_head.mask_head = nn.Module(), nn.Module()
    for head, count in ((model.rpn_head, 1), *((h, 2) for h in model.roi_head.children())):
        head.num_classes = count
    dataset = SimpleNamespace(metainfo=dict(classes=('ant', 'bee', 'cow')))
    split = Split('train_dataloader', SimpleNamespace(dataset=dataset), [])
    assert [*compare_classes(model, [split])] == [
        f'model.roi_head.{head}.num_classes=2, but train_dataloader has 3 classes (ant, bee, cow). '
        'Set it to 3.'
        for head in ('bbox_head', 'mask_head')
    ]


def test_images_of_16_bits_that_mmcv_would_scale_by_their_type(tmp_path):
    """``ImageFolder`` refuses or scales such files itself, also inside of another data set."""
    values = np.arange(64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / 'a.png')
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / 'b.png')
    paths = [str(tmp_path / name) for name in ('a.png', 'b.png', 'c.png')]
    samples = [dict(data_samples=DataSample(metainfo=dict(img_path=path))) for path in paths]

    def find(dataset):
        loader = SimpleNamespace(dataset=SimpleNamespace(dataset=dataset))
        return [*compare_depths(nn.Module(), [Split('train_dataloader', loader, samples)])]

    (found,) = find(SimpleNamespace(metainfo={}))
    assert found.startswith(
        f'train_dataloader: 1 of 3 samples, such as {tmp_path}/a.png, have more than 8 bits per '
        'channel, of which mmcv keeps the upper 8'
    )
    assert find(ImageFolder(tmp_path, value_range=(0, 63))) == []


def test_channels_of_images_and_network(tmp_path):
    make_classes(tmp_path / 'data')
    found = problems(tmp_path / 'data', tmp_path, **{'model.backbone.in_channels': 4})
    assert found[0] == (
        'train_dataloader: images have 3 channels, but the network takes 4. Set '
        'model.backbone.in_channels=3.'
    )
    four = {'model.data_preprocessor.mean': [0.0] * 4, 'model.data_preprocessor.std': [1.0] * 4}
    found = problems(tmp_path / 'data', tmp_path, **four)
    assert 'images have 3 channels, but model.data_preprocessor.mean has 4 values' in found[0]


def test_a_batch_of_one_where_batches_are_normalised(tmp_path):
    make_classes(tmp_path / 'data')
    text = CLASSIFIER.replace('neck=None', "neck=dict(type='mmpretrain.LinearNeck', "
                              'in_channels=32, out_channels=32, gap_dim=0)')  # fmt: skip
    (found,) = problems(tmp_path / 'data', tmp_path, text, **{'train_dataloader.batch_size': 11})
    assert found == (
        'train_dataloader.batch_size=11: the last batch of an epoch has one image in a process, '
        'and a norm of the network needs several values in each channel. Choose another batch '
        'size, or set train_dataloader.drop_last=True.'
    )
    options = {'train_dataloader.batch_size': 11, 'train_dataloader.drop_last': True}
    rehearsal_of(tmp_path / 'data', tmp_path, text, **options)


def test_one_image_whose_map_has_one_position(tmp_path):
    """As in the pooling of UPerNet. Larger maps have several values in each channel."""
    make_classes(tmp_path / 'data')
    backbone = (
        "    backbone=dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8),"
    )
    start, end = CLASSIFIER.index('    backbone='), CLASSIFIER.index('    head=')
    neck = "\n    neck=dict(type='mmpretrain.GlobalAveragePooling'),\n"
    head = CLASSIFIER[end:].replace('in_channels=32', 'in_channels=64')
    text = CLASSIFIER[:start] + backbone + neck + head
    data, one = tmp_path / 'data', {'train_dataloader.batch_size': 11}
    (found,) = problems(data, tmp_path, text, **one)
    assert found.startswith('train_dataloader.batch_size=11: the last batch of an epoch has one')
    (found,) = problems(data, tmp_path, text, **{'train_dataloader.batch_size': 1})
    assert found.startswith('train_dataloader.batch_size=1: every batch has one image')
    larger_maps = text.replace('depth=18', 'depth=18, strides=(1,) * 4')
    rehearsal_of(data, tmp_path, larger_maps, **one)
    endless = text.replace('ResumableSampler', 'ResumableInfiniteSampler').replace(
        "ResumableTrainLoop', max_epochs=1", "ResumableIterTrainLoop', max_iters=9"
    )
    rehearsal_of(data, tmp_path, endless, **one)


def test_the_smallest_batch_is_that_of_a_process():
    for images, processes, batch_size, drop_last, smallest in (
        (9, 1, 4, False, 1),
        (9, 1, 4, True, 4),
        (8, 1, 4, False, 4),
        (9, 2, 4, False, 1),  # five images each
        (9, 3, 4, False, 3),
    ):
        sampler = DefaultSampler(range(images), shuffle=False)
        sampler.num_samples = -(-images // processes)
        loader = DataLoader(range(images), batch_size, sampler=sampler, drop_last=drop_last)
        assert smallest_batch(loader) == smallest


def test_trackers_are_closed_before_their_folder_is_removed(tmp_path, monkeypatch):
    make_classes(tmp_path / 'data')
    closed = []
    monkeypatch.setattr(
        LocalVisBackend, 'close', lambda self: closed.append(Path(self._save_dir).exists())
    )
    rehearsal_of(tmp_path / 'data', tmp_path)
    assert closed == [True]
    torch.save(dict(a=torch.zeros(3)), tmp_path / 'wrong.pth')
    cfg = load_config_of(tmp_path / 'data', tmp_path, pretrained=str(tmp_path / 'wrong.pth'))
    with pytest.raises(CheckpointError, match='does not fit the backbone'):
        rehearse(cfg)
    assert closed == [True, True]


def test_the_backbone_of_the_run_is_rehearsed(tmp_path):
    make_classes(tmp_path / 'data')
    torch.save(dict(a=torch.zeros(3)), tmp_path / 'wrong.pth')
    cfg = load_config_of(tmp_path / 'data', tmp_path, pretrained=str(tmp_path / 'wrong.pth'))
    with pytest.raises(CheckpointError, match='does not fit the backbone'):
        rehearse(cfg)


def test_a_step_that_fails_and_a_loss_that_is_not_finite(tmp_path):
    make_classes(tmp_path / 'data')
    (found,) = problems(tmp_path / 'data', tmp_path, **{'model.head.in_channels': 16})
    assert found.startswith(
        'a step of the training fails in model.head.fc: RuntimeError: mat1 and mat2 shapes'
    )
    text = CLASSIFIER.replace('std=[64.0] * 3', 'std=[1e-45] * 3')
    (found,) = problems(tmp_path / 'data', tmp_path, text)
    assert found == (
        'the loss of a step is not finite: loss=nan. Compare model.data_preprocessor.mean and std '
        'with the values of the images.'
    )


def test_a_step_that_does_not_fit_into_the_memory(tmp_path, monkeypatch):
    make_classes(tmp_path / 'data')
    options = {'optim_wrapper.accumulative_counts': 3}
    cfg = load_config_of(tmp_path / 'data', tmp_path, **options)
    monkeypatch.setattr(ImageClassifier, 'loss', lambda *_: torch.empty(2**50))
    with pytest.raises(OutOfMemory) as error:
        rehearse(cfg)
    assert str(error.value) == (
        'a step of 4 images does not fit into the memory of the machine (tried to allocate '
        '4503599627370496 bytes): set train_dataloader.batch_size=2 and '
        'optim_wrapper.accumulative_counts=6, so that an update of the weights still follows from '
        '12 images of each process, or choose a smaller model or smaller images.'
    )


def test_memory_that_ends_in_the_middle_of_a_training(tmp_path, monkeypatch):
    make_classes(tmp_path / 'data')
    cfg = load_config_of(tmp_path / 'data', tmp_path, **{'train_dataloader.batch_size': 1})
    calls, loss = itertools.count(1), ImageClassifier.loss

    def fail_later(*args):
        if next(calls) == 5:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.50 GiB. GPU')
        return loss(*args)

    monkeypatch.setattr(ImageClassifier, 'loss', fail_later)
    with pytest.raises(OutOfMemory) as error:
        train(cfg)
    assert str(error.value) == (
        'a step of 1 image does not fit into the memory of the GPU (tried to allocate 2.50 GiB): '
        'choose a smaller model or smaller images.'
    )


def test_an_evaluation_that_does_not_fit_and_other_errors():
    runner = SimpleNamespace(model=nn.Identity().eval())
    words = 'evaluation .* set a smaller batch_size in val_data'
    with pytest.raises(OutOfMemory, match=words), explained_memory(runner):
        torch.empty(2**50)
    with pytest.raises(RuntimeError, match='Sizes of tensors must match'), explained_memory(runner):
        torch.cat([torch.zeros(1, 2), torch.zeros(1, 3)])


def test_a_metric_that_cannot_judge(tmp_path):
    make_classes(tmp_path / 'data')
    (found,) = problems(tmp_path / 'data', tmp_path, **{'val_evaluator.topk': (9,)})
    assert found.startswith('the evaluation of val_dataloader fails: ')


@pytest.mark.parametrize('name', ['cmae-huang_vit-tiny_digits', 'maskdeep_resnet-tiny_digits'])
def test_a_run_is_bit_by_bit_the_one_without_a_rehearsal(name, tmp_path, monkeypatch):
    def weights(folder):
        options = {
            'train_cfg.max_epochs': 2,
            'train_dataloader.dataset.indices': 16,
            'train_dataloader.batch_size': 8,
            'train_dataloader.num_workers': 0,
            'param_scheduler.warmup_epochs': 1,
            'custom_hooks': [],
            'default_hooks.momentum': dict(type='mmmask.MomentumUpdateHook'),
            'visualizer.vis_backends': [],
            'experiment_name': f'{name}-{folder}',
        }
        config = ROOT / f'configs/demo/{name}.py'
        cfg = load_config(config, options=options, work_dir=str(tmp_path / folder))
        runner = train(cfg)
        return runner.model.state_dict(), torch.get_rng_state()

    rehearsed, state = weights('with')
    monkeypatch.setattr(apis.RehearsalHook, 'before_train', lambda self, runner: None)
    plain, plain_state = weights('without')
    assert rehearsed.keys() == plain.keys()
    assert [n for n in plain if not torch.equal(rehearsed[n], plain[n])] == []
    assert torch.equal(state, plain_state)


def test_repeats_that_the_sampler_does_not_read(tmp_path):
    make_classes(tmp_path / 'data')
    options = {
        'train_dataloader.dataset.repeats': 2,
        'train_dataloader.sampler.type': 'mmengine.DefaultSampler',
    }
    (problem,) = problems(tmp_path / 'data', tmp_path, **options)
    assert problem == (
        'train_dataloader: dataset.repeats=2 is not read by DefaultSampler. Set it to 1, or '
        'sampler.type to mmmask.ResumableSampler.'
    )


def test_a_rehearsal_with_resume_compares_the_checkpoint(tmp_path):
    make_classes(tmp_path / 'data')
    config, work = tmp_path / 'classifier.py', tmp_path / 'work'
    config.write_text(CLASSIFIER)
    options = {f'{s}_dataloader.dataset.source': str(tmp_path / 'data') for s in ('train', 'val')}
    options['default_hooks.checkpoint'] = dict(type='mmmask.DurableCheckpointHook', interval=1)

    def load(**more):
        more['experiment_name'] = str(next(NUMBERS))
        return load_config(config, options=options | more, work_dir=str(work), resume='auto')

    train(load())
    rehearse(load(**{'train_cfg.max_epochs': 2}))
    with pytest.raises(CheckpointError, match='its optimizer is SGD') as error:
        rehearse(load(**{'optim_wrapper.optimizer.type': 'Adam'}))
    assert f'--work-dir {work} ' in str(error.value)


def test_an_epoch_without_a_batch(tmp_path):
    make_classes(tmp_path / 'data')
    options = {'train_dataloader.batch_size': 16, 'train_dataloader.drop_last': True}
    message = r'train_dataloader has no batch: 12 images are fewer than batch_size=16'
    with pytest.raises(ValueError, match=message):
        rehearsal_of(tmp_path / 'data', tmp_path, **options)


@pytest.mark.parametrize('text', [FROZEN, RETRIEVAL], ids=['knn', 'retrieval'])
def test_images_that_are_compared_by_features(text, tmp_path, capsys, monkeypatch):
    """Both are described, numbered alike, and of the channels of the network."""
    monkeypatch.setenv('COLUMNS', '160')
    make_classes(tmp_path / 'data', train='abc', val='bc')
    other = 'test_cfg.bank' if text == FROZEN else 'test_cfg.queries.own'
    rehearsal_of_test(text, tmp_path)
    shown = ' '.join(capsys.readouterr().out.replace('│', ' ').split())
    numbers = (8, 12) if text.count('KNN') else (12, 8)
    for name, number in zip(('test_dataloader', other), numbers, strict=True):
        assert f'{name} {number} images, 3 classes, 32 x 32 px, 3 channels' in shown

    find = partial(problems, text, tmp_path, rehearsal=rehearsal_of_test)
    named = other if 'Retrieval' in text else 'test_dataloader.dataset'
    (found,) = find(**{f'{named}.metainfo': dict(classes=['c', 'b', 'a'])})
    assert found.startswith(f'{other} has other classes than test_dataloader: it has them in ano')
    found = find(**{'model.data_preprocessor.mean': [0.0] * 4})
    assert [one.split(':')[0] for one in found] == ['test_dataloader', other]
    assert 'model.data_preprocessor.mean has 4 values' in found[1]
    (found,) = find(**{'model.data_preprocessor.std': [0.0] * 3})
    assert "ValueError: test_dataloader: descriptor '" in found and 'is not finite' in found


def test_a_bank_without_labels(tmp_path):
    make_classes(tmp_path / 'data')
    (found,) = problems(
        FROZEN, tmp_path, rehearsal=rehearsal_of_test, **{'test_cfg.bank.with_label': False}
    )
    assert found == (
        'KNNTestLoop fails: ValueError: the images of test_cfg.bank have no labels: set '
        'with_label=True.'
    )


def test_the_bank_of_a_training(tmp_path):
    """It is looked at in the rehearsal too, so that a dry run finds what is wrong."""
    make_classes(tmp_path / 'data')
    images = dict(type='mmmask.ImageFolder', source=str(tmp_path / 'data'), with_label=True)
    images['pipeline'] = [dict(type='mmpretrain.PackInputs')]
    hook = dict(
        type='mmmask.OnlineKNNHook', k=13, bank=dict(images, prefix='train'),
        query=dict(images, prefix='val'),
    )  # fmt: skip
    (found,) = problems(tmp_path / 'data', tmp_path, custom_hooks=[hook])
    assert found == (
        'OnlineKNNHook fails: ValueError: k=13 of OnlineKNNHook must lie between 1 and the 12 '
        'images of its bank.'
    )
    hook.update(k=5, query=dict(images, prefix='val', metainfo=dict(classes=['b', 'a', 'c'])))
    (found,) = problems(tmp_path / 'data', tmp_path, custom_hooks=[hook])
    assert found.startswith('OnlineKNNHook.query has other classes than OnlineKNNHook.bank: it ')


def test_a_value_of_label_maps_that_is_neither_a_class_nor_ignored():
    model = nn.Module()
    model.decode_head = nn.Module()
    model.decode_head.num_classes, model.decode_head.ignore_index = 2, 255
    maps = SimpleNamespace(data=torch.tensor([[[0, 1], [11, 255]]]))
    sample = dict(data_samples=SimpleNamespace(gt_sem_seg=maps))
    (found,) = compare_labels(model, [Split('val_dataloader', None, [sample])])
    assert found.startswith(
        'val_dataloader: labels [11] are not among the 2 classes of model.decode_head (0 to 1), and'
    )
    maps.data[maps.data == 11] = 255
    assert [*compare_labels(model, [Split('val_dataloader', None, [sample])])] == []
