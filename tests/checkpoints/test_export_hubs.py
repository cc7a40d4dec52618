"""Folders for Hugging Face and timm, and programs of torch.export and ONNX."""

import json
import runpy
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import timm
import torch
import transformers
from conftest import ROOT
from huggingface_hub import ModelCard
from mmengine.config import Config
from PIL import Image
from torch.nn import functional as F

from mmmask.apis import export_backbone
from mmmask.checkpoints import CheckpointError
from mmmask.checkpoints.exporting import folders
from mmmask.registry import MODELS

MEAN, STD = [120.0, 110.0, 100.0], [60.0, 55.0, 50.0]
LAYER_NORM = dict(type='LN', eps=1e-6)
VIT = dict(
    type='mmmask.MaskedVisionTransformer',
    arch=dict(embed_dims=32, num_layers=2, num_heads=4, feedforward_channels=64),
    img_size=64,
    patch_size=16,
)
BACKBONES = dict(
    mae=VIT,
    localmim=dict(VIT, final_norm=False),
    ijepa=dict(VIT, with_cls_token=False),
    swin=dict(
        type='mmmask.MaskedSwinTransformer',
        arch=dict(embed_dims=16, depths=[2, 1, 1, 1], num_heads=[1, 2, 2, 4]),
        img_size=64,
        patch_size=2,
        window_size=4,
        patch_cfg=dict(norm_cfg=LAYER_NORM),
        stage_cfgs=dict(
            block_cfgs=dict(norm_cfg=LAYER_NORM), downsample_cfg=dict(norm_cfg=LAYER_NORM)
        ),
        norm_cfg=LAYER_NORM,
    ),
    convnext=dict(
        type='mmmask.MaskedConvNeXt',
        arch=dict(depths=[1, 1, 1, 1], channels=[8, 16, 24, 32]),
        out_indices=(3,),
        use_grn=True,
        layer_scale_init_value=0.0,
    ),
)


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
    """Return a function: name -> checkpoint of a run with its config, and its backbone."""
    made = {}

    def make(name, **preprocessor):
        key = name, str(preprocessor)
        if key not in made:
            cfg = Config.fromfile(ROOT / 'configs/demo/localmim_vit-tiny_digits.py')
            normalization = dict(mean=MEAN, std=STD, bgr_to_rgb=True) | preprocessor
            cfg.model.data_preprocessor.update(normalization)
            cfg.model.backbone = BACKBONES[name]
            cfg.train_dataloader.dataset.source = '/home/somebody/photographs'
            torch.manual_seed(0)
            network = MODELS.build(BACKBONES[name])
            for parameter in network.parameters():
                parameter.data.add_(0.1 * torch.randn_like(parameter))
            network.eval()
            path = tmp_path_factory.mktemp(name) / 'epoch_3.pth'
            tensors = {f'backbone.{n}': tensor for n, tensor in network.state_dict().items()}
            meta = dict(cfg=cfg.pretty_text, epoch=3, time='20260102_030405')
            torch.save(dict(state_dict=tensors, meta=meta), path)
            made[key] = path, network
        return made[key]

    return make


@pytest.fixture
def image():
    """An image that is cropped but not resized: 73 px is 64 / 0.875."""
    pixels = np.random.default_rng(0).integers(0, 256, (73, 73, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def normalized(image):
    """The middle of an image as the network sees it."""
    pixels = torch.from_numpy(np.asarray(image)[4:68, 4:68].copy()).permute(2, 0, 1).float()
    return ((pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None])[None]


def difference(actual, expected):
    return ((actual - expected).abs().max() / expected.abs().max()).item()


@torch.no_grad()
@pytest.mark.parametrize('name', ['mae', 'localmim', 'ijepa'])
def test_a_folder_for_hugging_face_loads_by_itself(pretrained, image, tmp_path, name):
    checkpoint, backbone = pretrained(name)
    folder = tmp_path / 'hub'
    export = export_backbone(checkpoint, folder, 'huggingface')
    names = ['README.md', 'config.json', 'model.safetensors', 'preprocessor_config.json']
    assert sorted(path.name for path in folder.iterdir()) == names

    namespace = dict(image=image)
    exec(export.snippet, namespace)
    inputs = namespace['processor'](image, return_tensors='pt')['pixel_values']
    torch.testing.assert_close(inputs, normalized(image), rtol=0, atol=1e-5)
    model = namespace['model'].eval()
    assert type(model).__name__ == ('IJepaModel' if name == 'ijepa' else 'ViTModel')
    tokens = backbone(normalized(image))[-1]
    if not backbone.final_norm:
        tokens = F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
    assert difference(model(inputs).last_hidden_state, tokens) <= 1e-5


def test_preprocessing_keeps_proportions_and_crops_the_centre(pretrained, tmp_path):
    """An image of twice the width: its short edge becomes 73 px, and the middle 64 are used."""
    export_backbone(pretrained('mae')[0], tmp_path / 'hub', 'huggingface')
    wide = np.zeros((100, 200, 3), np.uint8)
    wide[:, 150:] = 255
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / 'hub')
    assert processor.size == {'shortest_edge': 73}
    inputs = processor(Image.fromarray(wide), return_tensors='pt')['pixel_values']
    assert inputs.shape == (1, 3, 64, 64)
    dark = (0 - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(inputs[0, :, :, 0], dark[:, None].expand(3, 64))
    # The bright quarter begins at 110 of 146 px, right of the middle 64, which end at 105.
    assert inputs.max() < 0


@torch.no_grad()
@pytest.mark.parametrize('name', ['mae', 'localmim', 'ijepa', 'convnext'])
def test_a_folder_for_timm_loads_by_itself(pretrained, image, tmp_path, name):
    checkpoint, backbone = pretrained(name)
    export = export_backbone(checkpoint, tmp_path / 'hub', 'timm')
    namespace = {}
    exec(export.snippet, namespace)
    model, inputs = namespace['model'].eval(), namespace['transform'](image).unsqueeze(0)
    torch.testing.assert_close(inputs, normalized(image), rtol=0, atol=1e-5)
    assert model.pretrained_cfg['input_size'] == (3, 64, 64)
    features, last = model.forward_features(inputs), backbone(inputs)[-1]
    if name == 'convnext':
        features = model.head.norm(features)
    assert difference(features, last) <= 1e-5
    # To fine-tune: only the head, and the norm before it, are new.
    classifier = timm.create_model(f'local-dir:{tmp_path}/hub', pretrained=True, num_classes=7)
    assert classifier(inputs).shape == (1, 7)


def test_the_model_card_states_the_recipe_and_no_path(pretrained, tmp_path):
    export_backbone(pretrained('localmim')[0], tmp_path / 'small', 'huggingface')
    card = ModelCard.load(tmp_path / 'small' / 'README.md')
    assert card.data.library_name == 'transformers'
    assert card.data.pipeline_tag == 'image-feature-extraction'
    assert 'localmim' in card.data.tags
    assert card.content.count('\n# small\n') == 1
    for line in (
        '| method | LocalMIM |',
        '| mask | `RandomMask(ratio=0.75)` |',
        '| data | photographs |',
        '| trained for | 3 of ',
    ):
        assert line in card.content
    assert 'mean [0.4706, 0.4314, 0.3922]' in card.content
    assert 'somebody' not in card.content and str(tmp_path) not in card.content


@torch.no_grad()
def test_the_code_of_the_card_runs(pretrained, image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for target in ('huggingface', 'timm'):
        export_backbone(pretrained('mae')[0], tmp_path / target, target)
        card = (tmp_path / target / 'README.md').read_text()
        namespace = dict(image=image)
        exec(card.split('```python\n')[1].split('```')[0], namespace)
        expected = pretrained('mae')[1](normalized(image))[-1]
        assert difference(namespace['features'], expected) <= 1e-4


def test_a_folder_keeps_files_of_others(pretrained, tmp_path):
    folder = tmp_path / 'hub'
    export_backbone(pretrained('mae')[0], folder, 'huggingface')
    export_backbone(pretrained('mae')[0], folder, 'huggingface')  # its own files are replaced
    before = (folder / 'model.safetensors').read_bytes()
    (folder / 'README.md').write_text('My own card.')
    with pytest.raises(FileExistsError, match='README.md exists and was not written by mmmask'):
        export_backbone(pretrained('localmim')[0], folder, 'huggingface')
    assert (folder / 'model.safetensors').read_bytes() == before
    assert (folder / 'README.md').read_text() == 'My own card.'


def test_a_folder_needs_the_normalisation(pretrained, tmp_path):
    checkpoint = torch.load(pretrained('mae')[0], weights_only=False)
    torch.save(dict(state_dict=checkpoint['state_dict'], meta={}), tmp_path / 'bare.pth')
    with pytest.raises(CheckpointError, match=r'has no model.data_preprocessor'):
        export_backbone(tmp_path / 'bare.pth', tmp_path / 'hub', 'timm', num_heads=4)
    with pytest.raises(CheckpointError, match='not in the order red, green, blue'):
        export_backbone(pretrained('mae', bgr_to_rgb=False)[0], tmp_path / 'hub', 'timm')
    assert not (tmp_path / 'hub').exists()
    with pytest.raises(CheckpointError, match='with norms of epsilon 1e-5 only'):
        export_backbone(pretrained('swin')[0], tmp_path / 'hub', 'timm')
    with pytest.raises(CheckpointError, match='a new folder has no dot in its name'):
        export_backbone(pretrained('mae')[0], tmp_path / 'v1.0', 'timm')


def test_other_features_leave_no_folder(pretrained, tmp_path, monkeypatch):
    written = folders.write_checkpoint

    def shifted(content, path):
        tensors = {name: tensor * 1.01 for name, tensor in content.items()}
        written(tensors, path)

    monkeypatch.setattr(folders, 'write_checkpoint', shifted)
    with pytest.raises(CheckpointError, match='features of timm differ'):
        export_backbone(pretrained('mae')[0], tmp_path / 'hub', 'timm')
    assert list(tmp_path.iterdir()) == []


def test_push(pretrained, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setenv('HF_TOKEN', 'hf_example')
    monkeypatch.setattr(
        'huggingface_hub.create_repo', lambda name, **kw: calls.append((name, kw)) or 'https://x/y'
    )
    monkeypatch.setattr(
        'huggingface_hub.upload_folder',
        lambda **kw: calls.append(sorted(p.name for p in kw.pop('folder_path').iterdir()) + [kw]),
    )
    (tmp_path / 'hub').mkdir()
    (tmp_path / 'hub' / 'private.txt').write_text('not for the hub')
    export = export_backbone(
        pretrained('mae')[0], tmp_path / 'hub', 'huggingface', repository='ann/mae-small'
    )
    assert export.address == 'https://x/y'
    assert calls[0] == ('ann/mae-small', dict(private=True, exist_ok=True))
    assert 'private.txt' not in calls[1][-1]['allow_patterns']
    assert set(calls[1][-1]['allow_patterns']) == set(calls[1][:-1]) - {'private.txt'}
    card = (tmp_path / 'hub' / 'README.md').read_text()
    assert "AutoModel.from_pretrained('ann/mae-small'" in card


@pytest.mark.parametrize(
    ('dst', 'arguments', 'message'),
    [
        ('hub', ['--to', 'timm', '--push', 'ann/mae'], 'needs a token of the Hugging Face hub'),
        ('hub', ['--to', 'timm', '--push', 'mae'], "'mae' must be OWNER/NAME"),
        ('a.pth', ['--to', 'timm', '--push', 'ann/mae'], '--push uploads a folder for huggingf'),
        ('hub', ['--to', 'onnx', '--push', 'ann/mae'], '--push uploads a folder for huggingface'),
        ('a.pth', ['--to', 'onnx'], r'the name ends in .onnx for --to onnx'),
    ],
)
def test_errors_of_the_command_line(pretrained, tmp_path, monkeypatch, dst, arguments, message):
    monkeypatch.setattr('huggingface_hub.get_token', lambda: None)
    words = ['export.py', str(pretrained('mae')[0]), str(tmp_path / dst), *arguments]
    monkeypatch.setattr(sys, 'argv', words)
    with pytest.raises(SystemExit, match=message):
        runpy.run_path(str(ROOT / 'tools/export.py'), run_name='__main__')
    assert list(tmp_path.iterdir()) == []


def export_apart(checkpoint, path, target, images):
    """Export in another process, and run the snippet there: snippet, note and features.

    torch.export lets the next backward pass of its process start threads for devices. A process
    with such threads cannot train in forks, as other tests do.
    """
    with ProcessPoolExecutor(1, get_context('fork')) as pool:
        return pool.submit(_export, checkpoint, path, target, images.numpy()).result()


def _export(checkpoint, path, target, images):
    export = export_backbone(checkpoint, path, target)
    namespace = dict(images=images if target == 'onnx' else torch.from_numpy(images))
    with torch.no_grad():
        exec(export.snippet, namespace)
    return export.snippet, export.note, np.asarray(namespace['features'])


@torch.no_grad()
@pytest.mark.parametrize('name', ['mae', 'swin'])
def test_a_program_of_torch(pretrained, tmp_path, name):
    checkpoint, backbone = pretrained(name)
    images = torch.randn(5, 3, 64, 64)
    snippet, note, features = export_apart(checkpoint, tmp_path / 'model.pt2', 'torch', images)
    assert difference(torch.from_numpy(features), backbone(images)[-1]) <= 1e-5
    assert str(features.shape[1:])[1:-1] in snippet
    assert 'mean [120.0, 110.0, 100.0]' in note


@torch.no_grad()
def test_a_program_of_a_fine_tuned_classifier(pretrained, tmp_path):
    """It ends before the norm of the average and the head."""
    checkpoint, backbone = pretrained('mae')
    content = torch.load(checkpoint, weights_only=False)
    content['state_dict'] |= {'backbone.ln2.weight': torch.ones(3), 'head.fc.bias': torch.ones(2)}
    torch.save(content, tmp_path / 'classifier.pth')
    images = torch.randn(5, 3, 64, 64)
    _, _, features = export_apart(
        tmp_path / 'classifier.pth', tmp_path / 'model.pt2', 'torch', images
    )
    assert difference(torch.from_numpy(features), backbone(images)[-1]) <= 1e-5


@torch.no_grad()
def test_a_program_of_onnx(pretrained, tmp_path):
    pytest.importorskip('onnxruntime', reason='pip install mmmask[onnx]')
    checkpoint, backbone = pretrained('localmim')
    images = torch.randn(4, 3, 64, 64)
    _, _, features = export_apart(checkpoint, tmp_path / 'model.onnx', 'onnx', images)
    assert [path.name for path in tmp_path.iterdir()] == ['model.onnx']  # weights are inside
    assert difference(torch.from_numpy(features), backbone(images)[-1]) <= 1e-5


def test_onnx_is_optional(pretrained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "mmmask\[onnx\]"'):
        export_backbone(pretrained('mae')[0], tmp_path / 'model.onnx', 'onnx')
    assert list(tmp_path.iterdir()) == []


def test_the_jsons_say_who_wrote_them(pretrained, tmp_path):
    export_backbone(pretrained('mae')[0], tmp_path / 'hub', 'timm')
    config = json.loads((tmp_path / 'hub' / 'config.json').read_text())
    assert config['origin'] == 'written by mmmask'
    assert config['pretrained_cfg']['crop_pct'] == 0.875
