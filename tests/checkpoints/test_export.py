import runpy
import sys

import pytest
import timm
import torch
from conftest import ROOT
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from mmpretrain.models.backbones import VisionTransformer

from mmmask.apis import export_backbone
from mmmask.checkpoints import CheckpointError, open_checkpoint
from mmmask.checkpoints.exporting import TARGETS
from mmmask.checkpoints.exporting.vit import ViTFamily
from mmmask.models import MaskedVisionTransformer

OPENMMLAB = ('mmpretrain', 'mmdet', 'mmseg')
FILES = [
    *((target, '.pth') for target in TARGETS),
    ('timm', '.safetensors'),
    ('huggingface', '.safetensors'),
]


@pytest.fixture
def images():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def backbone(final_norm=False, **options):
    """A small encoder for images of 64x96 px with random weights, norms and biases too."""
    torch.manual_seed(0)
    arch = dict(embed_dims=32, num_layers=8, num_heads=4, feedforward_channels=64)
    options = dict(arch=arch, img_size=(64, 96), patch_size=16, final_norm=final_norm) | options
    network = MaskedVisionTransformer(**options)
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    network.eval()
    return network


def save(network, path, meta=None, extra=None):
    """A pre-training checkpoint as mmengine writes it."""
    cfg = Config(
        dict(
            model=dict(
                type='mmmask.LocalMIM',
                backbone=dict(
                    type='mmmask.MaskedVisionTransformer',
                    arch=network.arch_settings,
                    img_size=network.img_size,
                    patch_size=16,
                    out_indices=[1, 3, 5, -1],
                ),
            )
        )
    )
    tensors = {f'backbone.{name}': value for name, value in network.state_dict().items()}
    tensors |= {'neck.embed.weight': torch.ones(3, 3)} | (extra or {})
    meta = dict(cfg=cfg.pretty_text, epoch=1) if meta is None else meta
    torch.save(dict(state_dict=tensors, meta=meta), path)
    return path


def difference(actual, expected):
    return ((actual - expected).abs().max() / expected.abs().max()).item()


def run_snippet(target, export, scope='mmpretrain'):
    """What the user gets by pasting the printed snippet."""
    if target not in OPENMMLAB:
        namespace = {}
        exec(export.snippet, namespace)
        return namespace['model'].eval()
    with DefaultScope.overwrite_default_scope(scope):
        network = ROOT_MODELS.build(Config.fromstring(export.snippet, '.py').backbone)
        network.init_weights()
    network.eval()
    return network


@pytest.mark.parametrize('final_norm', [False, True])
@pytest.mark.parametrize('target', TARGETS)
def test_an_encoder_without_class_token(tmp_path, images, target, final_norm):
    network = backbone(final_norm, with_cls_token=False)
    src, dst = save(network, tmp_path / 'src.pth'), tmp_path / 'dst.pth'
    export = export_backbone(src, dst, target)
    assert export.max_difference <= 1e-5
    loaded, tokens = run_snippet(target, export), network(images)[-1]
    if target == 'timm':
        output, expected = loaded.forward_features(images), tokens
    elif target == 'huggingface':
        assert type(loaded).__name__ == 'IJepaModel'
        output = loaded(images).last_hidden_state
        norm = torch.nn.functional.layer_norm
        expected = tokens if final_norm else norm(tokens, (32,), eps=1e-6)
    elif target == 'mmpretrain':
        output = loaded(images)[-1]
        expected = torch.nn.functional.layer_norm(tokens.mean(1), (32,), eps=1e-6)
    else:
        output, expected = loaded(images)[-1], tokens.mT.unflatten(2, (4, 6))
    assert difference(output, expected) <= 1e-5


@pytest.mark.parametrize('final_norm', [False, True])
@pytest.mark.parametrize('target, suffix', FILES)
def test_the_snippet_gives_the_features_of_mmmask(tmp_path, images, target, suffix, final_norm):
    network = backbone(final_norm, out_indices=[1, 3, 5, 7])
    src, dst = save(network, tmp_path / 'src.pth'), tmp_path / f'dst{suffix}'
    export = export_backbone(src, dst, target)
    assert export.max_difference <= 1e-5
    assert export.renaming.left_out == ['neck.embed.weight']
    assert len(export.renaming.matched) == 4 + 8 * 12 + 2 * final_norm

    loaded, taps = run_snippet(target, export), network(images)
    maps = [tap[:, 1:].transpose(1, 2).reshape(2, 32, 4, 6) for tap in taps]
    if target == 'mmseg':
        outputs, expected = loaded(images), maps
    elif target == 'mmdet':
        outputs, expected = loaded(images), maps[-1:]
    elif target == 'mmpretrain':
        # Without a final norm: the mean of the patch tokens, behind a new norm.
        average = torch.nn.functional.layer_norm(taps[-1][:, 1:].mean(1), (32,), eps=1e-6)
        outputs, expected = loaded(images), [taps[-1][:, 0] if final_norm else average]
    elif target == 'timm':
        outputs, expected = [loaded.forward_features(images)], taps[-1:]
    else:
        # The norm that ViTModel always has is neutral where the encoder has none.
        tokens = taps[-1]
        if not final_norm:
            tokens = torch.nn.functional.layer_norm(tokens, (32,), eps=1e-6)
        outputs, expected = [loaded(images).last_hidden_state], [tokens]
    assert len(outputs) == len(expected)
    for output, reference in zip(outputs, expected, strict=True):
        assert difference(output, reference) <= 1e-5


@pytest.mark.parametrize('target', ['mmdet', 'mmseg'])
def test_the_snippet_works_in_the_scope_of_its_library(tmp_path, images, target):
    pytest.importorskip(f'{target}.models', reason=f'{target} is absent')
    network = backbone(out_indices=[7])
    export = export_backbone(save(network, tmp_path / 'src.pth'), tmp_path / 'dst.pth', target)
    output = run_snippet(target, export, scope=target)(images)[-1]
    tokens = network(images)[0][:, 1:]
    assert torch.equal(output.flatten(2).transpose(1, 2), tokens)


@pytest.mark.parametrize('target, suffix', FILES)
def test_a_fine_tuned_classifier_gives_its_backbone(tmp_path, target, suffix):
    """The norm of the average follows what is compared, so it is left out like the head."""
    network, dst = backbone(), tmp_path / f'dst{suffix}'
    norm = {'backbone.ln2.weight': torch.full((32,), 2.0), 'backbone.ln2.bias': torch.ones(32)}
    before = export_backbone(save(network, tmp_path / 'a.pth'), dst, target)
    export = export_backbone(save(network, tmp_path / 'b.pth', extra=norm), dst, target)
    assert export.renaming.left_out == [*before.renaming.left_out, *norm]
    assert export.snippet == before.snippet
    assert export.renaming.tensors.keys() == before.renaming.tensors.keys()
    for name, tensor in before.renaming.tensors.items():
        assert torch.equal(tensor, export.renaming.tensors[name])
    words = 'The norm of the average, ln2, belongs to the classifier'
    assert (words in before.note, words in export.note) == (False, True)


def test_fine_tuning_in_timm_adds_a_head_and_its_norm_only(tmp_path, images):
    network = backbone()
    export = export_backbone(save(network, tmp_path / 'src.pth'), tmp_path / 'dst.pth', 'timm')
    assert "num_classes=... and global_pool='avg'" in export.note
    classifier = timm.models.VisionTransformer(
        img_size=(64, 96), patch_size=16, embed_dim=32, depth=8, num_heads=4, mlp_ratio=2,
        num_classes=5, global_pool='avg',
    ).eval()  # fmt: skip
    loaded = timm.models.load_checkpoint(classifier, str(tmp_path / 'dst.pth'), strict=False)
    assert loaded.unexpected_keys == []
    new = {'fc_norm.weight', 'fc_norm.bias', 'head.weight', 'head.bias'}
    assert set(loaded.missing_keys) == new
    assert difference(classifier.forward_features(images), network(images)[-1]) <= 1e-5


def test_an_exported_file_starts_another_mmengine_run(tmp_path, images):
    network = backbone(final_norm=True)
    export_backbone(save(network, tmp_path / 'src.pth'), tmp_path / 'dst.pth', 'mmdet')
    arch = network.arch_settings
    plain = VisionTransformer(arch, img_size=(64, 96), out_type='raw')
    tensors = open_checkpoint(tmp_path / 'dst.pth')['state_dict']
    plain.load_state_dict({k.removeprefix('backbone.'): v for k, v in tensors.items()}, strict=True)
    plain.eval()
    assert torch.equal(plain(images)[-1], network(images)[-1])


def test_heads_come_from_the_argument_where_the_file_has_no_config(tmp_path, images):
    network = backbone(img_size=64)
    src, dst = save(network, tmp_path / 'src.pth', meta={}), tmp_path / 'dst.pth'
    with pytest.raises(
        CheckpointError, match='width 32, 8 layers and an MLP of 64: give num_heads'
    ):
        export_backbone(src, dst, 'mmseg')
    export = export_backbone(src, dst, 'mmseg', num_heads=4)
    # No config names the taps: the ends of the four quarters.
    config = Config.fromstring(export.snippet, '.py').backbone
    assert config.arch.num_heads == 4
    assert config.out_indices == [1, 3, 5, 7]


def test_without_a_config_a_non_square_table_is_an_error(tmp_path):
    src = save(backbone(), tmp_path / 'src.pth', meta={})
    with pytest.raises(CheckpointError, match='24 patches of 16 px, which does not fit 64x64 px'):
        export_backbone(src, tmp_path / 'dst.pth', 'mmseg', num_heads=4)


@pytest.mark.parametrize('target', TARGETS)
def test_every_encoder_tensor_must_match(tmp_path, target):
    extra = {'backbone.layers.0.gamma': torch.ones(1), 'backbone.ln1.weight': torch.ones(32)}
    src = save(backbone(), tmp_path / 'src.pth', extra=extra)
    with pytest.raises(CheckpointError) as error:
        export_backbone(src, tmp_path / 'dst.pth', target)
    assert '1 unknown: backbone.layers.0.gamma' in str(error.value)


@pytest.mark.parametrize('target', TARGETS)
def test_half_an_encoder_is_an_error(tmp_path, target):
    network = backbone()
    del network.layers[3].attn.proj
    src = save(network, tmp_path / 'src.pth')
    with pytest.raises(CheckpointError) as error:
        export_backbone(src, tmp_path / 'dst.pth', target)
    names = 'backbone.layers.3.attn.proj.bias, backbone.layers.3.attn.proj.weight'
    assert f'2 missing: {names}' in str(error.value)


@pytest.mark.parametrize('target', TARGETS)
def test_other_features_mean_that_nothing_is_written(tmp_path, monkeypatch, target):
    honest = ViTFamily.plan

    def shifted(*arguments):
        plan = honest(*arguments)
        tensors = plan.content.get('state_dict', plan.content)
        name = next(name for name in tensors if 'qkv' in name or 'key' in name)
        shifted = tensors | {name: tensors[name] * 1.01}
        content = dict(state_dict=shifted) if 'state_dict' in plan.content else shifted
        return plan._replace(content=content)

    monkeypatch.setattr(ViTFamily, 'plan', shifted)
    (tmp_path / 'dst.pth').write_text('an older export, written by mmmask')
    src = save(backbone(), tmp_path / 'src.pth')
    with pytest.raises(
        CheckpointError, match=f'features of {target} differ .* nothing was written'
    ):
        export_backbone(src, tmp_path / 'dst.pth', target)
    assert (tmp_path / 'dst.pth').read_text() == 'an older export, written by mmmask'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['dst.pth', 'src.pth']


def test_weights_that_are_not_finite_are_not_exported(tmp_path):
    network = backbone()
    network.layers[0].ln1.bias.data[0] = float('nan')
    with pytest.raises(CheckpointError, match='the weights are not finite'):
        export_backbone(save(network, tmp_path / 'src.pth'), tmp_path / 'dst.pth', 'timm')


def test_the_callers_random_numbers_stay_as_they_were(tmp_path):
    src = save(backbone(), tmp_path / 'src.pth')
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    export_backbone(src, tmp_path / 'dst.pth', 'timm')
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(
    'dst, target, error, message',
    [
        ('dst.pth', 'tim', ValueError, "target='tim' is not one of mmpretrain, mmdet, mmseg, timm"),
        ('dst.safetensors', 'mmdet', CheckpointError, 'mmengine reads .pth files only'),
        ('dst.npz', 'timm', CheckpointError, 'ends in .pth or .safetensors'),
    ],
)
def test_wrong_arguments_are_explained(tmp_path, dst, target, error, message):
    src = save(backbone(), tmp_path / 'src.pth')
    with pytest.raises(error, match=message):
        export_backbone(src, tmp_path / dst, target)


def test_a_checkpoint_without_a_backbone_is_explained(tmp_path):
    torch.save(
        {'model': {'blocks.0.w': torch.ones(1), 'norm.b': torch.ones(1)}}, tmp_path / 'a.pth'
    )
    with pytest.raises(CheckpointError, match='parts of its names are blocks, norm'):
        export_backbone(tmp_path / 'a.pth', tmp_path / 'dst.pth', 'timm')
    torch.save(timm.models.VisionTransformer(depth=1).state_dict(), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'tools/convert.py --from timm first'):
        export_backbone(tmp_path / 'a.pth', tmp_path / 'dst.pth', 'timm')


@pytest.mark.parametrize('options', [{}, dict(layer_scale_init_value=0.1), dict(qkv_bias=False)])
def test_names_without_a_prefix_and_options_are_exported(tmp_path, images, options):
    network = backbone(final_norm=True, **options)
    torch.save({'module.' + n: t for n, t in network.state_dict().items()}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='24 patches of 16 px'):
        export_backbone(tmp_path / 'a.pth', tmp_path / 'dst.pth', 'timm', num_heads=4)
    network = backbone(final_norm=True, img_size=64, **options)
    torch.save({'module.' + n: t for n, t in network.state_dict().items()}, tmp_path / 'a.pth')
    for target in ('timm', 'mmpretrain'):
        export = export_backbone(tmp_path / 'a.pth', tmp_path / 'dst.pth', target, num_heads=4)
        loaded = run_snippet(target, export)
        square = images[..., :64]
        tokens = network(square)[-1]
        if target == 'timm':
            assert difference(loaded.forward_features(square), tokens) <= 1e-5
        else:
            assert difference(loaded(square)[-1], tokens[:, 0]) <= 1e-5


def test_the_command_line_prints_table_difference_and_snippet(tmp_path, monkeypatch, capsys):
    src, dst = save(backbone(), tmp_path / 'src.pth'), tmp_path / 'dst.pth'

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['export.py', str(src), str(dst), *arguments])
        runpy.run_path(str(ROOT / 'tools/export.py'), run_name='__main__')

    run('--to', 'mmseg')
    printed = capsys.readouterr().out
    assert '16 x  backbone.layers.*.ln1.{weight,bias}' in printed
    assert '100 tensors matched; left out: neck (1)' in printed
    assert 'relative to the largest: 0' in printed
    assert f"checkpoint='{dst}'" in printed.replace('\n', '').replace(' ', '')
    with pytest.raises(SystemExit, match='error: num_heads=8, but'):
        run('--to', 'mmseg', '--num-heads', '8')
    written = dst.read_bytes()
    for target, package in (('timm', 'timm'), ('huggingface', 'transformers')):
        monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
        message = (
            rf'error: --to {target} .* {package} is not installed: pip install "mmmask\[export\]"'
        )
        with pytest.raises(SystemExit, match=message):
            run('--to', target)
    assert dst.read_bytes() == written
