"""Swin transformers and ResNets of timm, torchvision and Hugging Face give here what they did."""

import io

import pytest
import timm
import torch
import torchvision
import transformers
from mmpretrain.models.backbones import ResNet

from mmmask.apis import convert_checkpoint, export_backbone
from mmmask.checkpoints import CheckpointError, load_backbone, open_checkpoint
from mmmask.checkpoints.layouts import LAYOUTS
from mmmask.models import MaskedSwinTransformer, MaskedVisionTransformer

DEPTHS, HEADS, WIDTH = (2, 2, 4, 2), (1, 2, 2, 4), 8
STAGES = (0, 1, 2, 3)


def trained(network, seed=0):
    """The network with every weight and every statistic random, as after a training."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith('num_batches_tracked'):
            tensor.fill_(7)
        elif name.endswith('running_var'):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.is_floating_point():
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
    return network.eval()


def ready(network):
    """Evaluating; mmpretrain's networks return nothing from ``eval()``."""
    network.eval()
    return network


def timm_swin(**options):
    torch.manual_seed(0)
    options = dict(num_classes=5, window_size=4) | options
    return trained(
        timm.models.SwinTransformer(
            img_size=64, patch_size=2, embed_dim=WIDTH, depths=DEPTHS, num_heads=HEADS, **options
        )
    )


def our_swin(**options):
    arch = dict(embed_dims=WIDTH, depths=list(DEPTHS), num_heads=list(HEADS))
    return ready(MaskedSwinTransformer(arch, img_size=64, patch_size=2, window_size=4, **options))


def huggingface_swin(kind):
    torch.manual_seed(0)
    config = transformers.SwinConfig(
        image_size=64, patch_size=2, embed_dim=WIDTH, depths=list(DEPTHS), num_heads=list(HEADS),
        window_size=4, num_labels=5,
    )  # fmt: skip
    return trained(kind(config))


def saved(tensors, folder):
    torch.save(tensors, folder / 'theirs.pth')
    return folder / 'theirs.pth'


def converted(source, folder, layout):
    """The tensors of the backbone without prefix, the names left out, and the converted file."""
    path = folder / 'ours.pth'
    left_out = {*convert_checkpoint(source, path, layout).left_out} - {'meta'}
    tensors = open_checkpoint(path)['state_dict']
    assert all(name.startswith('backbone.') for name in tensors)
    return {n.removeprefix('backbone.'): t for n, t in tensors.items()}, left_out, path


def outputs(layers, run, images):
    """What the layers give while the images run through their network."""
    found = []
    hooks = [layer.register_forward_hook(lambda _, __, out: found.append(out)) for layer in layers]
    with torch.no_grad():
        result = run(images)
    for hook in hooks:
        hook.remove()
    return found, result


def assert_close(actual, expected):
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


def assert_same_stages(tensors, maps, last, images):
    """Strictly loaded: every stage before norms, and the last behind its norm, (B, C, h, w)."""
    plain = {n: t for n, t in tensors.items() if not n.startswith('norm3')}
    network = our_swin(norm_cfg=None, out_indices=STAGES)
    index = 'stages.2.blocks.1.attn.w_msa.relative_position_index'
    assert torch.equal(tensors[index], network.state_dict()[index])
    network.load_state_dict(plain, strict=True)
    normed = our_swin()
    normed.load_state_dict(tensors, strict=True)
    with torch.no_grad():
        for actual, expected in zip(network(images), maps, strict=True):
            assert_close(actual, expected)
        assert_close(normed(images)[-1], last)


@pytest.fixture
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_swin_of_timm(tmp_path, images):
    network = timm_swin()
    tensors = network.state_dict()
    # Older files have the constants, too.
    tensors |= {
        f'{name}.relative_position_index': module.relative_position_index
        for name, module in network.named_modules()
        if hasattr(module, 'relative_position_index')
    }
    tensors['layers.0.blocks.1.attn_mask'] = torch.zeros(64, 16, 16)
    ours, left_out, path = converted(saved(tensors, tmp_path), tmp_path, 'timm-swin')
    indices = {name for name in left_out if name.endswith('.attn.relative_position_index')}
    assert len(indices) == sum(DEPTHS)
    rest = {'head.fc.weight', 'head.fc.bias', 'layers.0.blocks.1.attn_mask'}
    assert left_out - indices == rest

    with torch.no_grad():
        last, maps = network.forward_intermediates(images)
    assert [tuple(stage.shape[1:]) for stage in maps] == [
        (8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 4, 4)
    ]  # fmt: skip
    assert_same_stages(ours, maps, last.permute(0, 3, 1, 2), images)

    # Back in timm every tensor of the encoder is what it was.
    export_backbone(path, tmp_path / 'back.pth', 'timm')
    back = open_checkpoint(tmp_path / 'back.pth')
    assert back.keys() == tensors.keys() - left_out
    assert all(torch.equal(back[name], tensors[name]) for name in back)


@pytest.mark.parametrize(
    'kind, left_out',
    [
        (transformers.SwinForImageClassification, {'classifier.weight', 'classifier.bias'}),
        (transformers.SwinModel, set()),
        (
            transformers.SwinForMaskedImageModeling,
            {'decoder.0.weight', 'decoder.0.bias', 'swin.embeddings.mask_token'},
        ),
    ],
)
def test_swin_of_hugging_face(tmp_path, images, kind, left_out):
    network = huggingface_swin(kind)
    encoder = getattr(network, 'swin', network)
    network.save_pretrained(tmp_path)
    ours, unused, _ = converted(tmp_path / 'model.safetensors', tmp_path, 'huggingface-swin')
    assert {name for name in unused if not name.endswith('.relative_position_index')} == left_out
    blocks = [stage.blocks[-1] for stage in encoder.encoder.layers]
    found, result = outputs(blocks, encoder, images)
    tokens = [stage[0] for stage in found] + [result.last_hidden_state]
    *maps, last = (t.mT.unflatten(2, (int(t.shape[1] ** 0.5),) * 2) for t in tokens)
    assert_same_stages(ours, maps, last, images)


@pytest.mark.parametrize(
    'build, depth',
    [
        (lambda: timm.create_model('resnet18'), 18),
        (lambda: timm.create_model('resnet50'), 50),
        (lambda: torchvision.models.resnet18(), 18),
        (lambda: torchvision.models.resnet50(), 50),
    ],
)
def test_resnet_of_timm_and_torchvision(tmp_path, images, build, depth):
    torch.manual_seed(0)
    network = trained(build())
    tensors = network.state_dict()
    path = saved(tensors, tmp_path)
    backbone = ready(ResNet(depth, out_indices=STAGES))
    assert load_backbone(backbone, path).endswith('0 missing [], 0 unexpected []')
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in backbone.state_dict().items())

    ours, left_out, path = converted(path, tmp_path, 'resnet')
    assert left_out == {'fc.weight', 'fc.bias'}
    assert all(torch.equal(ours[name], tensors[name]) for name in ours)
    backbone.load_state_dict(ours, strict=True)
    stages = [getattr(network, f'layer{stage}') for stage in (1, 2, 3, 4)]
    expected, _ = outputs(stages, network, images)
    with torch.no_grad():
        for actual, stage in zip(backbone(images), expected, strict=True):
            assert_close(actual, stage)
    another = ResNet(depth, out_indices=STAGES)
    assert load_backbone(another, path).endswith('0 missing [], 0 unexpected []')
    assert all(torch.equal(another.state_dict()[name], ours[name]) for name in ours)


def test_a_resnet_from_before_batches_were_counted(tmp_path, images):
    network = trained(timm.create_model('resnet18'))
    tensors = {n: t for n, t in network.state_dict().items() if not n.endswith('batches_tracked')}
    ours, _, path = converted(saved(tensors, tmp_path), tmp_path, 'resnet')
    assert ours.keys() == tensors.keys() - {'fc.weight', 'fc.bias'}
    backbone = ready(ResNet(18, out_indices=(3,)))
    assert '20 missing' in load_backbone(backbone, path)
    with torch.no_grad():
        assert_close(backbone(images)[-1], network.forward_features(images))


@pytest.mark.parametrize(
    'depth, options',
    [
        (18, dict(layer_type='basic', hidden_sizes=[16, 32, 64, 128], depths=[2, 2, 2, 2])),
        (50, dict(layer_type='bottleneck', hidden_sizes=[64, 128, 256, 512], depths=[3, 4, 6, 3])),
    ],
)
@pytest.mark.parametrize(
    'kind, left_out',
    [
        (transformers.ResNetForImageClassification, {'classifier.1.weight', 'classifier.1.bias'}),
        (transformers.ResNetModel, set()),
    ],
)
def test_resnet_of_hugging_face(tmp_path, images, depth, options, kind, left_out):
    torch.manual_seed(0)
    network = trained(kind(transformers.ResNetConfig(embedding_size=16, num_labels=5, **options)))
    network.save_pretrained(tmp_path)
    file = tmp_path / 'model.safetensors'
    ours, unused, _ = converted(file, tmp_path, 'huggingface-resnet')
    assert unused == left_out
    backbone = ready(ResNet(depth, base_channels=16, stem_channels=16, out_indices=STAGES))
    backbone.load_state_dict(ours, strict=True)
    with torch.no_grad():
        expected = network(images, output_hidden_states=True).hidden_states[1:]
        for actual, stage in zip(backbone(images), expected, strict=True):
            assert_close(actual, stage)


def test_vision_transformer_in_a_classifier_of_hugging_face(tmp_path, images):
    """Whose files put the name of the encoder before every tensor of it."""
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        image_size=64, patch_size=16, layer_norm_eps=1e-6, num_labels=5,
    )  # fmt: skip
    torch.manual_seed(0)
    network = trained(transformers.ViTForImageClassification(config))
    network.save_pretrained(tmp_path)
    ours, left_out, _ = converted(tmp_path / 'model.safetensors', tmp_path, 'huggingface')
    assert left_out == {'classifier.weight', 'classifier.bias'}
    arch = dict(embed_dims=32, num_layers=2, num_heads=4, feedforward_channels=128)
    backbone = ready(MaskedVisionTransformer(arch, img_size=64, patch_size=16, final_norm=True))
    backbone.load_state_dict(ours, strict=True)
    with torch.no_grad():
        assert_close(backbone(images)[-1], network.vit(images).last_hidden_state)


def without(tensors, *names):
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(names)}


@pytest.mark.parametrize(
    'tensors, layout, message',
    [
        (lambda: resnet(50, 'layer3.5.conv3'), 'resnet', '1 missing: layer3.5.conv3.weight\n'),
        (lambda: resnet(18, 'layer4.1.bn2'), 'resnet', '5 missing: layer4.1.bn2.bias, '),
        (lambda: resnet(18, 'layer4'), 'resnet', 'missing: layer4.0.bn1.bias, '),
        (lambda: resnet(50, 'layer1.0.downsample'), 'resnet', '6 missing: layer1.0.downsample.0.w'),
        (lambda: resnet(50), 'timm', 'The names fit resnet: choose that instead.'),
        (
            lambda: timm.create_model('resnet18d').state_dict(),
            'resnet',
            'unknown: conv1.0.weight, ',
        ),
        (lambda: swin('layers.3'), 'timm-swin', 'missing: layers.3.blocks.0.attn.proj.bias, '),
        (lambda: swin('layers.1.downsample.norm'), 'timm-swin', '2 missing: layers.1.downsample.n'),
        (lambda: swin(), 'timm', 'The names fit timm-swin: choose that instead.'),
        (lambda: swin(), 'huggingface-swin', 'The names fit timm-swin: choose that instead.'),
        (
            lambda: timm.create_model('swinv2_cr_tiny_224', depths=(1, 1, 1, 1)).state_dict(),
            'timm-swin',
            f'None of the layouts {", ".join(LAYOUTS)} fits these names.',
        ),
        (
            lambda: timm_swin(window_size=(4, 8)).state_dict(),
            'timm-swin',
            'a table of 105 relative positions belongs to windows that are not square',
        ),
    ],
)
def test_other_networks_and_incomplete_files_are_explained(tmp_path, tensors, layout, message):
    path = saved(tensors(), tmp_path)
    with pytest.raises(CheckpointError) as error:
        convert_checkpoint(path, tmp_path / 'ours.pth', layout)
    assert message in str(error.value)
    assert not (tmp_path / 'ours.pth').exists()


def resnet(depth, *absent):
    return without(timm.create_model(f'resnet{depth}').state_dict(), *absent)


def swin(*absent):
    return without(timm_swin().state_dict(), *absent)


def test_a_file_cut_short_and_another_depth_are_explained(tmp_path):
    content = io.BytesIO()
    torch.save(resnet(18), content)
    path = tmp_path / 'theirs.pth'
    path.write_bytes(content.getvalue()[: content.tell() // 2])
    with pytest.raises(CheckpointError, match=r'theirs\.pth'):
        convert_checkpoint(path, tmp_path / 'ours.pth', 'resnet')
    path.write_bytes(content.getvalue())
    convert_checkpoint(path, tmp_path / 'ours.pth', 'resnet')
    with pytest.raises(CheckpointError, match=r'layer1\.0\.conv1\.weight is \(64, 64, 3, 3\) in'):
        load_backbone(ResNet(50), tmp_path / 'ours.pth')


def test_timms_swin_is_loaded_as_it_is(tmp_path, images):
    theirs, ours = timm_swin(), our_swin()
    summary = load_backbone(ours, saved(theirs.state_dict(), tmp_path))
    assert summary.endswith('0 missing [], 0 unexpected []')
    with torch.no_grad():
        assert_close(ours(images)[-1], theirs.forward_features(images).permute(0, 3, 1, 2))
