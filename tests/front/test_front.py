"""The commands: names, refusals, and the same run as tools/train.py bit for bit."""

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, errors_but_for_data, write_noise
from mmengine.config import Config
from PIL import Image

import mmmask
from mmmask.apis.train import load_config, train
from mmmask.apis.visualize import visualize_masks
from mmmask.apis.visualize_features import draw_features, open_source, visualize_features
from mmmask.checkpoints import CheckpointError, find_tensors, open_checkpoint
from mmmask.command_line import Parser
from mmmask.front import (
    COMMANDS,
    embed,
    main,
    memory,
    pretrain,
    recipes,
    running,
    visualize,
)
from mmmask.front.embed import network_in
from mmmask.front.main import make_parser
from mmmask.front.options import add_options

SMALL = {
    'model.backbone.arch': dict(embed_dims=32, num_layers=4, num_heads=2, feedforward_channels=64),
    'model.backbone.out_indices': [0, 1, 2, 3],
}
# The smallest of each family, and the largest where depths differ.
SIZES = ('vit-tiny-p8', 'vit-large-p16', 'swin-tiny', 'resnet-18', 'convnext-tiny')
PAIRS = [
    (method, model)
    for method in recipes.METHODS
    for model in SIZES
    if model in recipes.models_of(method) and (method, model) != ('features', 'vit-large-p16')
]


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """16 images in two classes."""
    folder = tmp_path_factory.mktemp('images')
    write_noise(folder, 70, 80)
    return folder


@pytest.fixture(scope='module')
def boxes(images, tmp_path_factory):
    """The images, and a COCO JSON with a box in each of them."""
    names = sorted(path.relative_to(images).as_posix() for path in images.rglob('*.png'))
    path = tmp_path_factory.mktemp('boxes') / 'objects.json'
    content = dict(
        images=[
            dict(id=i, file_name=name, height=70, width=80) for i, name in enumerate(names, start=1)
        ],
        annotations=[
            dict(id=i, image_id=i, category_id=1, bbox=[5, 5, 40, 40], area=1600, iscrowd=0)
            for i in range(1, len(names) + 1)
        ],
        categories=[dict(id=1, name='noise')],
    )
    path.write_text(json.dumps(content))
    return [images, path]


@pytest.fixture(scope='module')
def maps(images, tmp_path_factory):
    """The images, and a label map of two classes for each of them."""
    folder = tmp_path_factory.mktemp('maps')
    for name in (path.relative_to(images) for path in images.rglob('*.png')):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.eye(70, 80, dtype=np.uint8)).save(folder / name)
    return [images, folder]


@pytest.fixture(scope='module')
def trained(images, tmp_path_factory):
    """A pre-training of two epochs of one step and its checkpoint."""
    out = tmp_path_factory.mktemp('runs') / 'a'
    checkpoint = mmmask.pretrain(
        images, out, epochs=2, batch_size=8, workers=0, cfg_options=SMALL, model='vit-tiny-p8'
    )
    return out, checkpoint


def weights(path):
    return find_tensors(open_checkpoint(path), path)


def test_a_run_writes_its_config_which_tools_train_repeats_bit_by_bit(trained, tmp_path):
    out, checkpoint = trained
    assert checkpoint == out / 'epoch_2.pth'
    config = out / 'config.py'
    assert 'auto_scale_lr' in config.read_text()  # the rate follows the number of processes
    tool = [sys.executable, ROOT / 'tools' / 'train.py', config, '--work-dir', tmp_path]
    console = subprocess.run(tool, check=True, capture_output=True, text=True).stdout
    assert_same_weights(checkpoint, tmp_path / 'epoch_2.pth')
    # The console has less than the log.
    (log,) = tmp_path.glob('*/*.log')
    for text in ('System environment:', 'Config:', 'Hooks will be executed in the following'):
        assert text in log.read_text() and text not in console
    assert 'knn_top1' in console and 'Saving checkpoint at 2 epochs' in console
    initial = load_config(config).model.backbone.arch
    assert initial.embed_dims == 32
    assert any(name.startswith('backbone.') for name in weights(checkpoint))


def assert_same_weights(path, other):
    first, second = weights(path), weights(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize('command', ['finetune', 'detect', 'segment'])
def test_a_training_with_labels_is_repeated_bit_by_bit(
    command, trained, images, boxes, maps, tmp_path
):
    data = dict(finetune=images, detect=boxes, segment=maps)[command]
    options = dict(epochs=1, batch_size=4, workers=0)
    checkpoint = getattr(mmmask, command)(data, tmp_path / 'a', trained[0], **options)
    # What tools/train.py does with the file and --work-dir.
    train(load_config(tmp_path / 'a' / 'config.py', work_dir=str(tmp_path / 'b'), compiling='auto'))
    assert_same_weights(checkpoint, tmp_path / 'b' / 'epoch_1.pth')


def test_two_processes_repeat_a_run_bit_by_bit(images, tmp_path):
    words = '--method mae --model vit-tiny-p8 --epochs 1 --batch-size 4 --workers 0 --seed 3'
    call = [
        sys.executable,
        '-m',
        'mmmask',
        'pretrain',
        '--data',
        images,
        *words.split(),
        '--devices',
        '2',
    ]
    environment = os.environ | dict(OMP_NUM_THREADS='1', PYTHON=sys.executable)
    subprocess.run([*call, '--out', tmp_path / 'a'], env=environment, check=True)
    config = tmp_path / 'a' / 'config.py'
    launcher = ['bash', ROOT / 'tools' / 'dist_train.sh', config, '2']
    subprocess.run([*launcher, '--work-dir', tmp_path / 'b'], env=environment, check=True)
    assert_same_weights(tmp_path / 'a' / 'epoch_1.pth', tmp_path / 'b' / 'epoch_1.pth')


def test_an_evaluation_is_repeated_by_its_config(trained, images, tmp_path):
    metrics = mmmask.evaluate(trained[0], images, tmp_path / 'a', workers=0)
    tool = [sys.executable, ROOT / 'tools' / 'test.py', tmp_path / 'a' / 'config.py']
    subprocess.run([*tool, '--work-dir', tmp_path / 'b'], check=True)
    (path,) = (tmp_path / 'b').glob('*/*.json')
    again = json.loads(path.read_text())
    assert metrics and {name: again[name] for name in metrics} == metrics


def test_a_second_training_in_a_folder_is_refused_or_continues(trained, images):
    out, _ = trained
    with pytest.raises(FileExistsError, match='choose another --out, or --resume to continue'):
        mmmask.pretrain(images, out, epochs=2)
    with pytest.raises(FileNotFoundError, match='has no training that could be continued'):
        mmmask.pretrain(images, out / 'none', resume=True)
    assert pretrain._batch_of(out) == (8, 'of the run')


@pytest.mark.parametrize(('method', 'model'), PAIRS)
def test_every_pair_is_a_valid_config(method, model):
    cfg = recipes.make_config(method, model)
    cfg.custom_hooks = [one for one in cfg.custom_hooks if not {'bank', 'dataset'} & one.keys()]
    assert errors_but_for_data(cfg) == []


def test_a_pair_that_cannot_be_is_refused_and_what_can_is_named():
    with pytest.raises(ValueError) as refusal:
        recipes.check_pair('mae', 'swin-tiny')
    assert str(refusal.value) == (
        "method='mae' does not train model='swin-tiny': it trains vit-tiny-p8, vit-small-p16, "
        'vit-base-p16, vit-large-p16, and swin-tiny is trained by localmim, simmim, maskfeat.'
    )
    with pytest.raises(ValueError, match="method='dino' is unknown: choose one of localmim, mae"):
        recipes.check_pair('dino', 'swin-tiny')
    with pytest.raises(ValueError, match="model='vgg' is unknown: choose one of vit-tiny-p8, vit"):
        recipes.check_pair('mae', 'vgg')


def test_sizes_follow_the_model():
    cfg = recipes.make_config('localmim', 'vit-tiny-p8')
    assert cfg.model.target_generator.cell_sizes == [2, 4, 8, 16]
    assert [one.embed_dims for one in cfg.model.neck.decoders] == [128] * 4
    assert cfg.train_dataloader.dataset.pipeline[0].scale == cfg.model.backbone.img_size == 64
    assert cfg.optim_wrapper.optimizer.lr == 1e-3
    cfg = recipes.make_config('localmim', 'vit-large-p16', img_size=160)
    assert cfg.model.backbone.out_indices == [1, 3, 21, 23]
    assert cfg.train_dataloader.dataset.pipeline[0].scale == 160
    first, _, views, _ = recipes.make_config(
        'cmae-huang', 'vit-tiny-p8'
    ).train_dataloader.dataset.pipeline
    # 31 of 224 px are 9 of 64, and a window of 64 px shifted by 9 fits into 73.
    assert (first.scale, views.transforms[1][0]['max_shift']) == (73, 9)


def test_the_half_life_of_a_copy_is_a_part_of_the_training():
    cfg = recipes.make_config('ehm', 'vit-tiny-p8')
    pretrain.set_pace(cfg, recipes.METHODS['ehm'], 3000)
    assert cfg.model.parser.momentum == pytest.approx(0.5 ** (1 / 140), abs=1e-6)  # 14 / 300


def test_the_batch_fits_memory_images_and_device(monkeypatch):
    monkeypatch.setattr(memory, 'measure', lambda cfg: (2**30, 2**27))  # 1 GiB, and 128 MiB each
    monkeypatch.setattr(memory, 'free_memory', lambda device: 5 * 2**30)
    # 0.8 x 5 - 1 = 3 GiB hold 24 images
    assert memory.choose_batch(None, 10_000, 1) == (16, 'memory; 128 MiB per image')
    assert memory.choose_batch(None, 200, 1) == (8, '200 images; 128 MiB per image')
    monkeypatch.setattr(memory, 'free_memory', lambda device: 2**30)
    with pytest.raises(ValueError, match='one image needs 1.1 GiB, and 1.0 GiB of memory are free'):
        memory.choose_batch(None, 200, 1)


def test_the_tensors_that_a_step_keeps_are_counted():
    cfg = recipes.make_config('mae', 'vit-tiny-p8')
    cfg.merge_from_dict(SMALL | {'model.backbone.out_indices': -1})
    state = torch.get_rng_state()
    fixed, each = memory.measure(cfg)
    assert torch.equal(torch.get_rng_state(), state)
    wide = {'model.backbone.arch.feedforward_channels': 128}
    cfg.merge_from_dict(wide)
    larger, more = memory.measure(cfg)
    # Four layers, two matrices of 32 x 64 more and 64 biases each; weights, gradients, averages.
    assert larger - fixed == 4 * 4 * 4 * (2 * 32 * 64 + 64)
    # 17 tokens: before and after the activation, 64 channels more in four layers
    assert more - each == 4 * 2 * 17 * 64 * 4


@pytest.mark.parametrize('suffix', ['.npy', '.csv', '.parquet'])
def test_features_and_names_of_a_folder(trained, images, tmp_path, suffix):
    (tmp_path / 'some').mkdir()
    names = ['x.png', 'y.png']
    for name, source in zip(names, ('a/00.png', 'b/01.png'), strict=True):
        (tmp_path / 'some' / name).write_bytes((images / source).read_bytes())
    (tmp_path / 'some' / 'broken.png').write_bytes(b'no image')
    out = tmp_path / f'features{suffix}'
    assert mmmask.embed(trained[0], tmp_path / 'some', out, workers=0) == out
    if suffix == '.npy':
        features = np.load(out)
        found = (tmp_path / 'features.npy.names.txt').read_text().splitlines()
    elif suffix == '.csv':
        lines = [line.split(',') for line in out.read_text().splitlines()]
        assert lines[0] == ['name', *(f'f{index}' for index in range(32))]
        found = [line[0] for line in lines[1:]]
        features = np.array([line[1:] for line in lines[1:]], dtype=np.float32)
    else:
        from pyarrow import parquet

        table = parquet.read_table(out)
        found = table['name'].to_pylist()
        features = np.stack([table[f'f{index}'].to_numpy() for index in range(32)], axis=1)
    assert found == names
    # The reference: the model of the run in plain calls.
    images_, model = embed._images_and_model(str(trained[1]), tmp_path / 'some')
    sample = images_[[one['name'] for one in map(images_.get_data_info, range(3))].index('x.png')]
    data = model.data_preprocessor(
        dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']]), False
    )
    with torch.no_grad():
        tokens = model.backbone(data['inputs'])[-1]
    np.testing.assert_allclose(features[0], tokens[0, 1:].mean(dim=0), rtol=1e-4, atol=1e-5)
    with pytest.raises(FileExistsError, match='exists: choose another --out or remove it'):
        mmmask.embed(trained[0], images, out)


def test_python_and_the_command_line_take_the_same_names():
    actions = make_parser()._subparsers._group_actions[0].choices
    assert list(actions) == list(COMMANDS)
    for name in mmmask.FUNCTIONS:
        stated = inspect.signature(getattr(mmmask, name)).parameters
        options = {one.dest: one for one in actions[name]._actions}
        assert {'help', 'debug'} == options.keys() - stated.keys(), name
        assert stated.keys() <= options.keys(), name
        for key, parameter in stated.items():
            required = parameter.default is inspect.Parameter.empty
            assert options[key].required == required, (name, key)
            assert required or options[key].default in (parameter.default, None), (name, key)


def test_options_follow_from_the_signature_and_the_docstring():
    def command(
        run: str | os.PathLike,
        data: Sequence[str | os.PathLike],
        images: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
        rate: float | None = None,
        num_images: int = 8,
        seed: int = 0,
        dry_run: bool = False,
        lr: float | None = None,
    ):
        """Do it.

        Args:
            run: folder of a training.
            data: two ``.zip`` files, of which 50 % are
                read by :func:`some.thing`.
            images, rate: both of these.
            num_images: how many.
            seed: of all.
            dry_run: write nothing.
            lr: as in :func:`mmmask.pretrain`.

        Raises:
            ValueError: lr: no parameter.
        """

    parser = Parser()
    add_options(parser, command)
    home = os.path.expanduser('~')
    words = ['~/a', '--data', '~/b', 'c', '--rate', '0.5', '--dry-run', '--num-images', '3']
    assert vars(parser.parse_args(words)) == dict(
        run=f'{home}/a', data=[f'{home}/b', 'c'], images=None, rate=0.5, num_images=3, seed=0,
        dry_run=True, lr=None, debug=False,
    )  # fmt: skip
    for missing in (['--data', 'b'], ['a']):
        with pytest.raises(SystemExit):
            parser.parse_args(missing)
    helps = {one.dest: one.help for one in parser._actions}
    assert helps['data'] == 'two .zip files, of which 50 %% are read by some.thing'
    assert helps['images'] == helps['rate'] == 'both of these'
    assert helps['num_images'] == 'how many (default: %(default)s)'
    assert helps['seed'] == 'of all (default: %(default)s)'
    assert helps['lr'] == "peak learning rate, by default the recipe's, scaled to the batch"
    assert 'two .zip files, of which 50 % are read' in ' '.join(parser.format_help().split())


def test_the_commands_answer_without_heavy_imports(tmp_path):
    code = (
        'import sys, mmmask.front.main as m\n'
        'for words in [[], ["list"]]: m.main(words)\n'
        'try: m.main(["pretrain", "--help"])\n'
        'except SystemExit: pass\n'
        'heavy = {"torch", "mmengine", "numpy", "rich"} & set(sys.modules)\n'
        'assert not heavy, heavy'
    )
    process = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert 'mmmask pretrain --data images/ --out runs/a' in process.stdout
    assert 'methods: what is predicted' in process.stdout


def test_an_error_is_one_sentence(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main.main(['pretrain', '--data', 'x', '--out', str(tmp_path), '--model', 'vgg'])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("mmmask pretrain: model='vgg' is unknown: choose")


def test_numbers_that_cannot_be_are_refused():
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(lr=1.0)), train_dataloader=dict()))
    with pytest.raises(ValueError, match='lr=0 must be positive'):
        running.set_rate(cfg, 0.0)
    with pytest.raises(ValueError, match='batch_size=0 must be 1 or more'):
        running.set_loaders(cfg, 2, 0)
    with pytest.raises(ValueError, match='workers=-1 must be 0 or more'):
        running.number_of_workers(-1, 1)
    with pytest.raises(ValueError, match='devices=0 must be from 1 to'):
        running.number_of_devices(0)


def test_a_frozen_backbone_is_evaluated(trained, images, tmp_path):
    metrics = mmmask.evaluate(trained[0], images, tmp_path / 'knn', workers=0)
    # No more neighbours than the bank has images.
    assert metrics.keys() == {'knn12/cls', 'knn12/mean'}
    assert set(metrics.values()) <= {0.0, 25.0, 50.0, 75.0, 100.0}  # of four held-out images
    assert (tmp_path / 'knn' / 'config.py').is_file()
    with pytest.raises(ValueError, match="protocol='x' is unknown: choose one of knn, probe, retr"):
        mmmask.evaluate(trained[0], images, tmp_path, protocol='x')


def test_a_probe_is_fitted(trained, images, tmp_path):
    metrics = mmmask.evaluate(trained[0], images, tmp_path, 'probe', workers=0)
    assert metrics
    assert set(metrics.values()) <= {0.0, 25.0, 50.0, 75.0, 100.0}  # of four held-out images


def test_half_of_few_images_are_searched(trained, images, tmp_path):
    pytest.importorskip('faiss', reason='pip install mmmask[retrieval]')
    metrics = mmmask.evaluate(trained[0], images, tmp_path, 'retrieval', workers=0)
    recalls = [value for name, value in metrics.items() if '/R@' in name]
    assert recalls and all(value % 12.5 == 0 for value in recalls)  # of eight queries
    cfg = Config.fromfile(tmp_path / 'config.py')
    (queries,) = cfg.test_cfg.queries.values()
    assert queries.num_queries == cfg.test_dataloader.dataset.num_queries == 8


def test_a_classifier_starts_from_the_backbone_of_a_run(trained, images, tmp_path):
    mmmask.finetune(images, tmp_path / 'f', trained[0], epochs=1, batch_size=4, lr=1e-9, workers=0)
    classifier, backbone = weights(tmp_path / 'f' / 'epoch_1.pth'), weights(trained[1])
    name = 'backbone.layers.0.attn.qkv.weight'
    torch.testing.assert_close(classifier[name], backbone[name], atol=1e-6, rtol=0)
    cfg = Config.fromfile(tmp_path / 'f' / 'config.py')
    assert cfg.model.head.num_classes == 2 and cfg.model.head.in_channels == 32
    some = dict(features='attention', images=images / 'a', num_images=2)
    drawn = [
        np.asarray(Image.open(mmmask.visualize(run, tmp_path / f'{name}.png', **some)), np.float32)
        for name, run in dict(pre=trained[0], weights=trained[1], tuned=tmp_path / 'f').items()
    ]
    assert np.array_equal(drawn[0], drawn[1]) and abs(drawn[0] - drawn[2]).mean() < 0.1
    with pytest.raises(ValueError, match='f is no pre-training: give --features KIND'):
        mmmask.visualize(tmp_path / 'f')
    with pytest.raises(ValueError, match='states no images of a pre-training: give --images'):
        mmmask.visualize(tmp_path / 'f', features='pca')


def test_a_picture_of_a_run(trained, tmp_path):
    path = mmmask.visualize(trained[0], tmp_path / 'picture.png', num_images=2)
    assert Image.open(path).size[1] > 2 * 64
    again = mmmask.visualize(
        trained[0] / 'config.py', tmp_path / 'again.png', trained[1], num_images=2
    )
    assert np.array_equal(Image.open(again), Image.open(path))


def test_the_pictures_of_a_folder_are_those_of_its_config_and_checkpoints(
    trained, images, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = load_config(trained[0] / 'config.py')
    some = dict(images=images / 'a', num_images=2)
    path = mmmask.visualize(trained[0], features='pca', **some)
    expected = visualize_features(
        config, trained[1], 'pca', [images / 'a'], tmp_path / 'expected.png', 2
    )
    assert path == Path('pca.png') and np.array_equal(Image.open(path), Image.open(expected))
    path = mmmask.visualize(trained[0] / 'config.py', masks=True, seed=3, **some)
    expected = visualize_masks(config, None, [images / 'a'], expected, 2, seed=3)
    assert path == Path('masks.png') and np.array_equal(Image.open(path), Image.open(expected))
    first, last = (str(trained[0] / f'epoch_{epoch}.pth') for epoch in (1, 2))
    assert visualize._checkpoints_of(trained[0]) == [first, last]
    with pytest.raises(ValueError, match='masks of RandomMask do not change during training'):
        mmmask.visualize(trained[0], evolution=True)
    with pytest.raises(ValueError, match='finds no boxes: give the config of a training with'):
        mmmask.visualize(trained[0], boxes=True)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(masks=True, features='pca'), 'choose one of --masks, --evolution, --boxes and'),
        (dict(pretrained='x.pth'), '--pretrained gives the weights of --features only'),
        (dict(pretrained='x', features='pca', checkpoints=['y']), 'a checkpoint or --pretrained'),
        (dict(checkpoints=['x', 'y']), 'several checkpoints can only be drawn with --evolution'),
        (dict(), 'give a checkpoint, or --masks to draw masks without one'),
    ],
)
def test_pictures_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        mmmask.visualize(ROOT / 'configs/demo/mae_vit-tiny_digits.py', **options)


@pytest.mark.parametrize(('method', 'interval'), [('mae', None), ('ehm', 2), ('epm', 2)])
def test_masks_that_evolve_are_drawn_in_training(method, interval, images, tmp_path, monkeypatch):
    monkeypatch.setattr(running, 'run', lambda config, *others: config)
    config = mmmask.pretrain(
        images, tmp_path / 'run', method, 'vit-tiny-p8', epochs=20, batch_size=4, workers=0
    )
    hooks = [one for one in Config.fromfile(config).custom_hooks if 'Evolution' in one.type]
    assert [hook.interval for hook in hooks] == ([interval] if interval else [])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(features='loss'), '--features loss needs the decoder too'),
        (dict(features='pca', checkpoints='x.pth'), 'gives the weights already: leave x.pth out'),
        (dict(features='pca', cfg_options={'a': 1}), 'no pre-training: leave --cfg-options out'),
    ],
)
def test_what_weights_alone_cannot_obey_is_refused(options, message, images):
    with pytest.raises(ValueError, match=message):
        mmmask.visualize(ROOT / 'demo' / 'localmim', images=images, **options)


def test_the_patches_of_plain_weights_have_their_places(images, tmp_path):
    path = mmmask.visualize(
        ROOT / 'demo' / 'localmim', tmp_path / 'pca.png', features='pca', images=images / 'a'
    )
    model, *form = network_in(str(ROOT / 'demo' / 'localmim'))
    model.backbone.out_type = 'featmap'  # (B, D, h, w) as mmpretrain arranges it
    expected = draw_features(model, open_source([images / 'a'], *form), 'pca')
    assert np.array_equal(Image.open(path), expected)


def test_a_folder_without_a_training_has_no_picture(tmp_path):
    with pytest.raises(FileNotFoundError, match='is a folder without a checkpoint of a training'):
        mmmask.visualize(tmp_path)
    with pytest.raises(FileNotFoundError, match='is a folder without a config of a training'):
        mmmask.visualize(tmp_path, checkpoints='x.pth')


def test_a_dry_run_writes_nothing(images, tmp_path):
    out = tmp_path / 'run'
    options = dict(epochs=1, batch_size=8, workers=0, cfg_options=SMALL, model='vit-tiny-p8')
    assert mmmask.pretrain(images, out, dry_run=True, **options) is None
    assert not out.exists()


@pytest.mark.parametrize(
    ('options', 'name'),
    [
        ({'train_dataloader.batch_size': 4}, 'batch_size'),
        (dict(train_cfg=dict(max_epochs=3)), 'epochs'),
        ({'val_dataloader.num_workers': 1}, 'workers'),
    ],
)
def test_a_value_is_given_in_one_way(options, name, images, tmp_path):
    with pytest.raises(ValueError, match=f'has an option of its own, .* give {name}, which is --'):
        mmmask.pretrain(images, tmp_path / 'run', cfg_options=options)
    assert not (tmp_path / 'run').exists()


def test_the_values_that_are_printed_are_those_of_the_config(trained, images, tmp_path, capsys):
    options = dict(epochs=1, batch_size=4, lr=2e-4, seed=5, model='vit-tiny-p8', img_size=32)
    mmmask.pretrain(images, tmp_path / 'a', cfg_options=SMALL, **options)
    printed = dict(re.findall(r'^  (\w+) +(\S+)', capsys.readouterr().out, re.MULTILINE))
    cfg = Config.fromfile(tmp_path / 'a' / 'config.py')
    assert cfg.train_dataloader.batch_size == int(printed['batch_size']) == 4
    assert cfg.train_dataloader.num_workers == int(printed['workers'])
    assert cfg.train_cfg.max_epochs == int(printed['epochs']) == 1
    assert cfg.optim_wrapper.optimizer.lr == float(printed['lr']) == 2e-4
    assert cfg.randomness.seed == int(printed['seed']) == 5
    assert cfg.model.backbone.img_size == int(printed['img_size']) == 32
    assert cfg.filename == printed['config']


def test_the_list_has_each_method_and_model_with_its_families(capsys):
    main.main(['list'])
    methods, models = capsys.readouterr().out.split('\nmodels\n')
    families = {
        line.split()[0]: line.rpartition('; ')[2].split(' and ')
        for line in methods.splitlines()[1:]
    }
    assert families.keys() == recipes.METHODS.keys() and {'localmim', 'mae'} <= families.keys()
    names = [line.split()[0] for line in models.splitlines()]
    for method, listed in families.items():
        trains = {name for name in names if recipes.MODELS[name].family in listed}
        assert trains == set(recipes.models_of(method))


def test_the_names_of_the_functions_are_found():
    assert {'pretrain', 'embed'} <= set(dir(mmmask))
    with pytest.raises(AttributeError, match="has no attribute 'dino'"):
        mmmask.dino  # noqa: B018
    assert json.dumps(sorted(set(mmmask.FUNCTIONS) - set(COMMANDS))) == '[]'


def test_a_pre_training_does_not_see_the_images_that_judge_it(trained):
    from mmmask.registry import DATASETS

    cfg = Config.fromfile(trained[0] / 'config.py')
    (knn,) = [hook for hook in cfg.custom_hooks if 'bank' in hook]
    seen, bank, query = (
        {
            one['img_path'] if 'img_path' in one else one['name']
            for one in map(dataset.get_data_info, range(len(dataset)))
        }
        for dataset in map(DATASETS.build, (cfg.train_dataloader.dataset, knn.bank, knn.query))
    )
    assert len(seen) == 12 and len(query) == 4  # two of eight images of each class are held out
    assert seen == bank and not seen & query


DOCUMENT = (ROOT / 'docs' / 'commands.md').read_text()


def test_the_documented_commands_and_calls_ask_for_the_same():
    """Each line of the first block is parsed, and each line of the second is bound."""
    parser, asked = make_parser(), {}
    for line in re.findall(r'^mmmask (.+)$', DOCUMENT, re.MULTILINE):
        options = vars(parser.parse_args(shlex.split(line)))
        asked.setdefault(options.pop('command'), options)
    calls = re.findall(r'^mmmask\.(\w+)\((.+)\)$', DOCUMENT, re.MULTILINE)
    assert [name for name, _ in calls] == list(asked) == list(dict.fromkeys(asked))
    for name, words in calls:
        bound = eval(f'inspect.signature(mmmask.{name}).bind({words})')
        bound.apply_defaults()
        expected = {key: asked[name][key] for key in bound.arguments}
        assert bound.arguments == expected, name


def test_several_devices_train_through_the_launcher(monkeypatch, tmp_path):
    words = []

    def run(command, env, check):
        words.extend(command)
        assert env['PYTHON'] == sys.executable
        return subprocess.CompletedProcess(command, 75)

    monkeypatch.setattr(running.subprocess, 'run', run)
    (tmp_path / 'config.py').write_text('train_dataloader = dict(num_workers=1)')
    workers = running.Value(1, running.GIVEN)
    with pytest.raises(SystemExit) as ended:
        running.run(tmp_path / 'config.py', 2, True, workers)
    assert ended.value.code == 75  # stopped after saving
    launcher = str(ROOT / 'tools' / 'dist_train.sh')
    assert words == [
        'bash',
        launcher,
        str(tmp_path / 'config.py'),
        '2',
        '--resume',
        '--cfg-options',
        'train_dataloader.num_workers=1',
    ]


def test_detectors_and_segmentors_write_configs_that_need_no_more_options(
    trained, images, boxes, maps, tmp_path, monkeypatch
):
    monkeypatch.setattr(running, 'run', lambda config, *others: config)
    config = mmmask.detect(boxes, tmp_path / 'd', trained[0], epochs=3, batch_size=2)
    cfg = load_config(config)
    assert cfg.model.type == 'mmdet.FasterRCNN' and cfg.model.roi_head.bbox_head.num_classes == 1
    assert cfg.model.backbone.arch.embed_dims == 32
    assert cfg.train_cfg.max_epochs == 3 and cfg.train_dataloader.batch_size == 2
    held = json.loads((tmp_path / 'd' / 'data' / 'val.json').read_text())
    assert len(held['images']) == 3  # a fifth of 16
    config = mmmask.segment(maps, tmp_path / 's', trained[0])
    cfg = load_config(config)
    assert cfg.model.decode_head.num_classes == 2 and cfg.work_dir == str(tmp_path / 's')
    with pytest.raises(ValueError, match='detect takes a folder of images and a COCO JSON'):
        mmmask.detect(images, tmp_path / 'e')


def test_a_folder_stands_for_its_newest_checkpoint(trained, tmp_path):
    assert running.checkpoint_of(trained[0]) == str(trained[1])
    assert running.checkpoint_of('timm/vit_tiny') == 'timm/vit_tiny'
    with pytest.raises(FileNotFoundError, match='is a folder without a checkpoint of a training'):
        running.checkpoint_of(tmp_path)
    (tmp_path / 'config.json').touch()  # of save_pretrained
    assert running.checkpoint_of(tmp_path) == str(tmp_path)


def test_a_backbone_is_exported(trained, tmp_path):
    out = tmp_path / 'backbone.pth'
    assert mmmask.export(trained[0], 'mmpretrain', out) == out
    name = 'layers.0.attn.qkv.weight'
    found = torch.load(out)['state_dict']
    assert torch.equal(found[f'backbone.{name}'], weights(trained[1])[f'backbone.{name}'])
    with pytest.raises(CheckpointError, match='3 does not divide the width 32|config says'):
        mmmask.export(trained[0], 'mmpretrain', tmp_path / 'other.pth', num_heads=3)
