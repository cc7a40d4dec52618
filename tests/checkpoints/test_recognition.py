"""Weights as people have them: wrapped, prefixed, of other libraries, or of networks not here."""

import pytest
import timm
import torch
import torchvision
import transformers
from conftest import build_model
from mmpretrain.models.backbones import ResNet, VisionTransformer
from torch import nn

from mmmask.apis import convert_checkpoint
from mmmask.checkpoints import CheckpointError, backbone, load_backbone, open_checkpoint
from mmmask.masking import keep_all
from mmmask.models import MaskedVisionTransformer, WindowVisionTransformer

ARCH = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
OPTIONS = dict(arch=ARCH, img_size=64, patch_size=16, final_norm=True)
COMPLETE = '0 missing [], 0 unexpected []'


def randomized(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    network.eval()
    return network


def ours(**options):
    return randomized(MaskedVisionTransformer(**OPTIONS, **options), seed=1)


def timm_vit(seed=0, **options):
    options = dict(num_classes=0) | options
    network = timm.models.VisionTransformer(
        img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2, **options
    )
    return randomized(network, seed)


@pytest.fixture
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def prefixed(tensors, prefix):
    return {prefix + name: tensor for name, tensor in tensors.items()}


def features(network, images):
    with torch.no_grad():
        return network(images)[-1]


def assert_close(actual, expected):
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


WRAPPED = {
    'as it is': lambda t: t,
    'DistributedDataParallel': lambda t: {'state_dict': prefixed(t, 'module.')},
    'a whole model': lambda t: prefixed(t, 'module.backbone.') | {'module.neck.a': t['ln1.bias']},
    'torch.compile': lambda t: {'state_dict': prefixed(t, '_orig_mod.backbone.')},
    'both': lambda t: {'model': prefixed(t, 'module._orig_mod.')},
    'torch.compile of each layer': lambda t: {
        name.replace('layers.0', 'layers.0._orig_mod'): tensor for name, tensor in t.items()
    },
    'AveragedModel': lambda t: {'n_averaged': torch.tensor(3)} | prefixed(t, 'module.'),
    'a tutorial': lambda t: {'model_state_dict': t, 'optimizer_state_dict': {}, 'epoch': 3},
    'nested': lambda t: {'model': {'state_dict': t}, 'epoch': 3},
    'Lightning': lambda t: {'state_dict': prefixed(t, 'model.backbone.'), 'loops': {}},
    'BYOL': lambda t: {'state_dict': prefixed(t, 'encoder.') | prefixed(t, 'target.')},
    'MoCo': lambda t: {
        'state_dict': prefixed(t, 'module.base_encoder.')
        | prefixed({n: -x for n, x in t.items()}, 'module.momentum_encoder.')
    },
    'an average beside it': lambda t: {
        'state_dict_ema': {n: -x for n, x in t.items()}, 'state_dict': t
    },
    'an average alone': lambda t: {'model_ema': t},
}  # fmt: skip


@pytest.mark.parametrize('kind', WRAPPED)
def test_whatever_wraps_an_encoder_is_taken_off(tmp_path, kind):
    source, network = ours(), MaskedVisionTransformer(**OPTIONS)
    torch.save(WRAPPED[kind](source.state_dict()), tmp_path / 'a.pth')
    assert load_backbone(network, tmp_path / 'a.pth').endswith(COMPLETE)
    for name, tensor in source.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_read_in_single(tmp_path, dtype):
    source, network = ours(), MaskedVisionTransformer(**OPTIONS)
    half = {name: tensor.to(dtype) for name, tensor in source.state_dict().items()}
    torch.save(half, tmp_path / 'a.pth')
    load_backbone(network, tmp_path / 'a.pth')
    assert all(torch.equal(network.state_dict()[name], half[name].float()) for name in half)


def test_a_teacher_is_preferred_to_its_student_and_the_log_says_so(tmp_path, images, monkeypatch):
    """DINO's file, in which both have timm's names."""
    teacher, student = timm_vit(), timm_vit(seed=5)
    head = {'head.mlp.0.weight': torch.ones(1)}
    file = dict(
        student=prefixed(prefixed(student.state_dict(), 'backbone.') | head, 'module.'),
        teacher=prefixed(teacher.state_dict(), 'backbone.') | head,
        epoch=3,
    )
    torch.save(file, tmp_path / 'a.pth')
    network = MaskedVisionTransformer(**OPTIONS)
    log = []
    monkeypatch.setattr(backbone, 'print_log', lambda line, logger: log.append(line))
    assert load_backbone(network, tmp_path / 'a.pth').endswith(COMPLETE)
    assert log[0].endswith("a.pth: using 'teacher' rather than student")
    assert 'a.pth: recognised as timm (timm VisionTransformer' in log[1]
    assert log[1].endswith("with names that begin with 'backbone.'")
    assert_close(features(network, images), teacher.forward_features(images))


@pytest.mark.parametrize(
    ('theirs', 'options'),
    [
        (dict(num_classes=5), {}),
        (dict(init_values=0.5), dict(layer_scale_init_value=1.0)),
        (dict(qkv_bias=False), dict(qkv_bias=False)),
        (dict(num_classes=5, init_values=0.5), dict(layer_scale_init_value=1.0)),
    ],
)
def test_features_of_timm(tmp_path, images, theirs, options):
    source, network = timm_vit(**theirs), MaskedVisionTransformer(**OPTIONS, **options)
    torch.save({'model': prefixed(source.state_dict(), 'module.')}, tmp_path / 'a.pth')
    assert load_backbone(network, tmp_path / 'a.pth').endswith(COMPLETE)
    assert_close(features(network, images), source.forward_features(images))


def test_features_of_timm_without_a_class_token(tmp_path, images):
    source = timm_vit(class_token=False, global_pool='avg', fc_norm=False)
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    network = VisionTransformer(**OPTIONS, with_cls_token=False, out_type='featmap')
    network.eval()
    assert load_backbone(network, tmp_path / 'a.pth').endswith(COMPLETE)
    expected = source.forward_features(images).transpose(1, 2).unflatten(2, (4, 4))
    assert_close(features(network, images), expected)


def test_a_norm_of_the_mean_belongs_to_the_classifier(tmp_path, images):
    """Fine-tuned as by MAE, where it replaces the norm of the tokens."""
    source = timm_vit(num_classes=5, global_pool='avg')
    assert 'fc_norm.weight' in source.state_dict()
    torch.save({'model': source.state_dict(), 'optimizer': {}}, tmp_path / 'a.pth')
    network = MaskedVisionTransformer(**OPTIONS | dict(final_norm=False))
    network.eval()
    assert load_backbone(network, tmp_path / 'a.pth').endswith(COMPLETE)
    assert_close(features(network, images), source.forward_features(images))


@pytest.mark.parametrize('kind', ['file', 'folder'])
@pytest.mark.parametrize('model', ['ViT', 'ViTMAE', 'Dinov2', 'IJepa'])
def test_features_of_hugging_face(tmp_path, images, model, kind):
    config = dict(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=64, patch_size=16,
        layer_norm_eps=1e-6,
    )  # fmt: skip
    config |= dict(mlp_ratio=2) if model == 'Dinov2' else dict(intermediate_size=64)
    if model == 'ViTMAE':
        config |= dict(
            decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_num_attention_heads=2,
            decoder_intermediate_size=32, mask_ratio=0.0,
        )  # fmt: skip
    config = getattr(transformers, f'{model}Config')(**config)
    whole = 'ForPreTraining' if model == 'ViTMAE' else 'ForImageClassification'
    source = randomized(getattr(transformers, f'{model}{whole}')(config))
    source.save_pretrained(tmp_path / 'folder')
    torch.save(source.state_dict(), tmp_path / 'file')
    more = dict(Dinov2=dict(layer_scale_init_value=1.0), IJepa=dict(with_cls_token=False))
    network = MaskedVisionTransformer(**OPTIONS, **more.get(model, {}))
    network.eval()
    assert load_backbone(network, tmp_path / kind).endswith(COMPLETE)
    actual = features(network, images)
    encoder = getattr(source, source.base_model_prefix)
    with torch.no_grad():
        if model == 'ViTMAE':  # keeps all patches, in random order
            output = encoder(images, noise=torch.arange(16.0).repeat(2, 1))
        else:
            output = encoder(images)
    assert_close(actual, output.last_hidden_state)


@pytest.mark.parametrize('size', [64, 96])
def test_the_release_of_ijepa(tmp_path, size):
    """timm's names without class token, in two encoders and a predictor, with other images, too."""
    source = timm_vit(class_token=False, global_pool='avg', fc_norm=False, dynamic_img_size=True)
    encoders = (timm_vit(seed=5, class_token=False, global_pool='avg', fc_norm=False), source)
    file = {
        name: prefixed(network.state_dict(), 'module.')
        for name, network in zip(('encoder', 'target_encoder'), encoders, strict=True)
    }
    torch.save(
        file | {'predictor': {'module.mask_token': torch.ones(1)}, 'epoch': 3}, tmp_path / 'a'
    )
    network = MaskedVisionTransformer(**OPTIONS, with_cls_token=False)
    network.eval()
    assert load_backbone(network, tmp_path / 'a').endswith(COMPLETE)
    images = torch.randn(2, 3, size, size)
    actual = network(images, keep_all(2, (size // 16,) * 2))[-1]
    assert torch.equal(actual, network(images)[-1])
    if size == 64:
        assert_close(actual, source.forward_features(images))


def test_features_of_torchvision(tmp_path, images):
    source = randomized(torchvision.models.VisionTransformer(64, 16, 2, 2, 32, 64, num_classes=3))
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    network = MaskedVisionTransformer(**OPTIONS)
    network.eval()
    assert load_backbone(network, tmp_path / 'a.pth').endswith(COMPLETE)
    with torch.no_grad():
        tokens = source._process_input(images)
        tokens = torch.cat([source.class_token.expand(2, -1, -1), tokens], dim=1)
        assert_close(features(network, images), source.encoder(tokens))


@pytest.mark.parametrize('kind', ['localmim-vit', 'mae'])
def test_official_pre_trainings(tmp_path, images, kind):
    """Files with decoders, as the official code of LocalMIM and MAE writes them."""
    config = dict(mae='mae_vit-tiny_digits', **{'localmim-vit': 'localmim_vit-tiny_digits'})[kind]
    source = randomized(build_model(f'demo/{config}.py'))
    torch.save({'state_dict': source.state_dict()}, tmp_path / 'ours.pth')
    convert_checkpoint(tmp_path / 'ours.pth', tmp_path / 'theirs.pth', target=kind)
    network = build_model(f'demo/{config}.py', seed=1).backbone
    assert load_backbone(network, tmp_path / 'theirs.pth').endswith(COMPLETE)
    for name, tensor in source.backbone.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor)


def test_dinov2_with_layer_scale_and_a_mask_token(tmp_path, images):
    """The teacher of DINOv2's own training: timm's names, heads beside them, and a mask token."""
    source = timm_vit(init_values=0.5)
    teacher = prefixed(source.state_dict(), 'backbone.')
    teacher |= {'backbone.mask_token': torch.ones(1, 32), 'dino_head.mlp.0.bias': torch.ones(3)}
    torch.save({'teacher': teacher}, tmp_path / 'a.pth')
    network = MaskedVisionTransformer(**OPTIONS, layer_scale_init_value=1.0)
    network.eval()
    assert load_backbone(network, tmp_path / 'a.pth').endswith(COMPLETE)
    assert_close(features(network, images), source.forward_features(images))
    with pytest.raises(CheckpointError, match=r'register tokens \(register_tokens\)'):
        registers = {'teacher': teacher | {'backbone.register_tokens': torch.ones(1, 4, 32)}}
        torch.save(registers, tmp_path / 'b.pth')
        load_backbone(network, tmp_path / 'b.pth')


def test_a_detector_has_layer_scale_in_its_layers(tmp_path, images):
    """With global attention and without a class token, the features are those of DINOv2."""
    source = timm_vit(init_values=0.5, class_token=False, global_pool='avg')
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    arch = dict(ARCH, global_attn_indexes=[0, 1])
    network = WindowVisionTransformer(arch=arch, img_size=64, patch_size=16)
    for layer in network.layers:  # as they are initialised
        nn.init.zeros_(layer.attn.rel_pos_h)
        nn.init.zeros_(layer.attn.rel_pos_w)
    network.eval()
    load_backbone(network, tmp_path / 'a.pth')
    source.norm = nn.Identity()
    assert_close(features(network, images).flatten(2).mT, source.forward_features(images))


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='neither model.safetensors nor pytorch_model.bin'):
        open_checkpoint(tmp_path)


def test_a_resnet_of_moco(tmp_path, images):
    source = randomized(timm.create_model('resnet18', num_classes=8))
    query, key = source.state_dict(), timm.create_model('resnet18', num_classes=8).state_dict()
    file = prefixed(query, 'module.encoder_q.') | prefixed(key, 'module.encoder_k.')
    torch.save({'state_dict': file | {'module.queue': torch.ones(1)}}, tmp_path / 'a.pth')
    network = ResNet(18)
    assert load_backbone(network, tmp_path / 'a.pth').endswith(COMPLETE)
    network.eval()
    assert_close(features(network, images), source.forward_features(images).detach())


def test_constants_of_a_decoder_do_not_matter_for_the_encoder(tmp_path, images):
    source = timm_vit()
    decoder = nn.Linear(32, 16).state_dict()
    file = source.state_dict() | prefixed(decoder, 'decoder_embed.')
    file |= {'mask_token': torch.ones(1, 1, 16), 'decoder_pos_embed': torch.ones(1, 17, 16)}
    for layer in ('norm1', 'norm2', 'attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2'):
        file |= prefixed(decoder, f'decoder_blocks.0.{layer}.')
    file |= prefixed(decoder, 'decoder_norm.') | prefixed(decoder, 'decoder_pred.')
    torch.save({'model': file}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='decoder_pos_embed is not the constant'):
        convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth')
    network = MaskedVisionTransformer(**OPTIONS)
    assert load_backbone(network, tmp_path / 'a.pth').endswith(COMPLETE)
    assert_close(features(network, images), source.forward_features(images))


@pytest.mark.parametrize(
    ('theirs', 'message'),
    [
        (dict(init_values=1e-5), r'set model\.backbone\.layer_scale_init_value=1\.0'),
        (dict(qkv_bias=False), r'set model\.backbone\.qkv_bias=False'),
        (dict(class_token=False, global_pool='avg'), 'no class token: set .*with_cls_token=False'),
    ],
)
def test_options_that_a_network_lacks_are_named(tmp_path, theirs, message):
    torch.save(timm_vit(**theirs).state_dict(), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=message):
        load_backbone(MaskedVisionTransformer(**OPTIONS), tmp_path / 'a.pth')


@pytest.mark.parametrize(
    ('layers', 'options', 'problem'),
    [
        (1, {}, r'layers\.1\.attn\.qkv\.bias of the network is not in the file'),
        (3, dict(layer_scale_init_value=1.0), r'layers\.2\.attn\.gamma1\S* of the file has no'),
    ],
)
def test_another_depth_is_not_taken_for_an_option(tmp_path, layers, options, problem):
    """Missing biases and spare LayerScale come from the number of layers if others have them."""
    file = MaskedVisionTransformer(**OPTIONS | dict(arch=ARCH | dict(num_layers=layers)), **options)
    torch.save(file.state_dict(), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=problem) as error:
        load_backbone(MaskedVisionTransformer(**OPTIONS, **options), tmp_path / 'a.pth')
    advice = str(error.value).splitlines()[-1]
    assert advice == (
        'Use the architecture that the file was made with. --allow-missing accepts the gaps.'
    )


@pytest.mark.parametrize(
    ('theirs', 'feature'),
    [
        (dict(reg_tokens=4), r'register tokens \(reg_token\)'),
        (dict(qk_norm=True), r'normalised queries and keys \(blocks\.\d\.attn\.[qk]_norm\.'),
        (dict(pre_norm=True), r'a norm before the first layer \(norm_pre\.'),
    ],
)
def test_what_no_network_here_has_is_named_and_no_advice_leads_in_a_circle(
    tmp_path, theirs, feature
):
    torch.save(timm_vit(**theirs).state_dict(), tmp_path / 'a.pth')
    message = f'nearest to timm .*{feature}.*mmmask has no such network: use weights without'
    network = MaskedVisionTransformer(**OPTIONS)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for allow_missing in (False, True):
        with pytest.raises(CheckpointError, match=message) as error:
            load_backbone(network, tmp_path / 'a.pth', allow_missing)
        assert '--allow-missing' not in str(error.value)
        assert 'tools/convert.py --from' not in str(error.value)
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in before)
    with pytest.raises(CheckpointError, match=message):
        convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth')


def test_conversion_recognises_the_layout(tmp_path):
    source = timm_vit(num_classes=5)
    torch.save({'teacher': prefixed(source.state_dict(), 'backbone.')}, tmp_path / 'a.pth')
    renaming = convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth')
    assert renaming.left_out == ['backbone.head.weight', 'backbone.head.bias']
    converted = open_checkpoint(tmp_path / 'b.pth')
    assert converted['meta']['converted_from'] == 'timm'
    name = 'backbone.layers.1.ffn.layers.0.0.weight'
    assert torch.equal(converted['state_dict'][name], source.blocks[1].mlp.fc1.weight)
    with pytest.raises(CheckpointError, match="mmmask's own names of a vision transformer"):
        convert_checkpoint(tmp_path / 'b.pth', tmp_path / 'c.pth')


def test_a_file_near_no_layout_says_so(tmp_path):
    torch.save(timm.create_model('mobilenetv3_small_050').state_dict(), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='and is near none of them'):
        convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth')
    with pytest.raises(CheckpointError, match=r'\(0 tensors match\): the file fits none of the'):
        load_backbone(MaskedVisionTransformer(**OPTIONS), tmp_path / 'a.pth')
