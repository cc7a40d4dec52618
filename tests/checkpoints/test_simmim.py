"""Pre-trainings by SimMIM of others: encoder, mask token and decoder compute the same here."""

import re
import sys
from types import ModuleType

import pytest
import timm
import torch
import torch.nn.functional as F
import transformers
from mmpretrain.models.backbones import BEiTViT
from mmpretrain.models.selfsup.simmim import SimMIMSwinTransformer
from test_recognition import assert_close, features, prefixed, randomized
from torch import nn

from mmmask.apis import convert_checkpoint
from mmmask.checkpoints import (
    CheckpointError,
    backbone,
    find_tensors,
    load_backbone,
    open_checkpoint,
    take_whole,
)
from mmmask.layers import unpatchify
from mmmask.models import MaskedSwinTransformer, MaskedVisionTransformer
from mmmask.registry import MODELS

# The maps of the released networks (192 px, patches of 4 px, windows of 6) at half the size.
DEPTHS, HEADS, WIDTH, UNIT = [2, 2, 2, 2], [1, 2, 2, 4], 8, 16
SIZES = dict(patch_size=2, window_size=6)
BACKBONE = dict(
    arch=dict(embed_dims=WIDTH, depths=DEPTHS, num_heads=HEADS),
    img_size=96,
    out_indices=(3,),
    **SIZES,
)


def ours(seed=0, in_channels=3):
    torch.manual_seed(seed)
    model = MODELS.build(
        dict(
            type='mmmask.SimMIM',
            backbone=dict(type='mmmask.MaskedSwinTransformer', in_channels=in_channels, **BACKBONE),
            masking=dict(type='mmmask.RandomMask', ratio=0.6),
            neck=dict(type='mmmask.LinearDecoder'),
            target_generator=dict(type='mmmask.PixelTarget', normalize=False),
            head=dict(type='mmmask.MaskedRegressionHead', distance='absolute'),
        )
    )
    return randomized(model, seed)


def official():
    """Names of Swin's own code, which merges patches at the end of a stage, below `encoder.`."""
    encoder = timm.models.SwinTransformer(
        img_size=96, embed_dim=WIDTH, depths=DEPTHS, num_heads=HEADS, num_classes=0, **SIZES
    )
    encoder = randomized(encoder)
    token = torch.randn(1, 1, WIDTH)
    decoder = nn.Conv2d(8 * WIDTH, 3 * UNIT**2, 1)
    tensors = {'mask_token': token, 'layers.0.blocks.1.attn_mask': torch.zeros(64, 36, 36)}
    for name, tensor in encoder.state_dict().items():
        if '.downsample.' in name:
            stage = int(name.split('.')[1])
            name = name.replace(f'layers.{stage}', f'layers.{stage - 1}')
        tensors[name] = tensor
    for name, module in encoder.named_modules():
        if hasattr(module, 'relative_position_index'):
            tensors[f'{name}.relative_position_index'] = module.relative_position_index

    def reconstruct(images, hidden):
        handle = encoder.patch_embed.register_forward_hook(
            lambda layer, inputs, maps: torch.where(hidden.unsqueeze(3), token, maps)
        )
        maps = encoder.forward_features(images).permute(0, 3, 1, 2)
        handle.remove()
        return F.pixel_shuffle(decoder(maps), UNIT)

    tensors = prefixed(tensors, 'encoder.') | prefixed(decoder.state_dict(), 'decoder.0.')
    return {'model': tensors}, reconstruct


def hugging_face():
    config = transformers.SwinConfig(
        image_size=96, embed_dim=WIDTH, depths=DEPTHS, num_heads=HEADS, encoder_stride=UNIT, **SIZES
    )
    torch.manual_seed(0)
    network = randomized(transformers.SwinForMaskedImageModeling(config))

    def reconstruct(images, hidden):
        return network(images, bool_masked_pos=hidden.flatten(1)).reconstruction

    return network.state_dict(), reconstruct


SOURCES = pytest.mark.parametrize('source', [official, hugging_face])


@pytest.fixture
def images():
    return torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(2))


@SOURCES
def test_the_whole_pre_training_is_read(source, images):
    checkpoint, reconstruct = source()
    model = ours(seed=1)
    take_whole(model, checkpoint, 'a.pth')
    model.load_state_dict(checkpoint['state_dict'], strict=True)
    with torch.no_grad():
        mask, prediction = model.reconstruct(images)
        hidden = mask.hidden.unflatten(1, mask.grid)
        expected = reconstruct(images, hidden.repeat_interleave(8, 1).repeat_interleave(8, 2))
        assert_close(unpatchify(prediction, mask.grid, UNIT), expected)
        losses = model.head(prediction, model.target_generator(images), mask)
    hidden = hidden.repeat_interleave(UNIT, 1).repeat_interleave(UNIT, 2).unsqueeze(1)
    loss = ((images - expected).abs() * hidden).sum() / hidden.sum() / 3
    torch.testing.assert_close(losses['loss'], loss, rtol=1e-5, atol=0)


@SOURCES
def test_the_encoder_alone_has_its_last_norm_and_the_log_names_what_is_left_out(
    source, tmp_path, images, monkeypatch
):
    checkpoint, reconstruct = source()
    torch.save(checkpoint, tmp_path / 'a.pth')
    log = []
    monkeypatch.setattr(backbone, 'print_log', lambda line, logger: log.append(line))
    network = MaskedSwinTransformer(**BACKBONE)
    network.eval()
    assert load_backbone(network, tmp_path / 'a.pth').endswith('0 missing [], 0 unexpected []')
    assert re.search(
        r'a\.pth: the encoder alone is used, without 3 .*mask_token.*decoder\.0', log[1]
    )
    assert log[1].endswith('To fill a whole model, use load_from.')
    model = ours(seed=1)
    take_whole(model, checkpoint, 'a.pth')
    model.load_state_dict(checkpoint['state_dict'])
    assert_close(features(network, images), features(model.backbone, images))


@pytest.mark.parametrize('layout', ['simmim-swin', 'huggingface-simmim'])
def test_conversion_there_and_back_gives_every_tensor(layout, tmp_path, images):
    model = ours()
    torch.save(model.state_dict(), tmp_path / 'a.pth')
    convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth', target=layout)
    theirs = find_tensors(open_checkpoint(tmp_path / 'b.pth'))
    checkpoint, _ = (hugging_face if 'hugging' in layout else official)()
    assert {n: t.shape for n, t in find_tensors(checkpoint).items() if 'attn_mask' not in n} == {
        n: t.shape for n, t in theirs.items()
    }
    assert convert_checkpoint(tmp_path / 'b.pth', tmp_path / 'c.pth').left_out == []
    back = open_checkpoint(tmp_path / 'c.pth')['state_dict']
    assert back.keys() == model.state_dict().keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in model.state_dict().items())


def test_a_decoder_of_other_channels_is_refused(tmp_path):
    torch.save(ours(in_channels=1).state_dict(), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='256 values .* are not the pixels of squares of RGB'):
        convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth', target='simmim-swin')


def test_the_mask_token_in_a_swin_of_mmpretrain_is_no_part_of_an_encoder(tmp_path, images):
    options = dict(BACKBONE, stage_cfgs=dict(block_cfgs=dict(window_size=6)))
    del options['window_size'], options['patch_size']
    source = randomized(SimMIMSwinTransformer(**options | dict(img_size=192)))
    torch.save({'state_dict': prefixed(source.state_dict(), 'backbone.')}, tmp_path / 'a.pth')
    network = MaskedSwinTransformer(**BACKBONE | dict(img_size=192, patch_size=4))
    network.eval()
    assert " 0 missing [], 1 unexpected ['mask_token']" in load_backbone(
        network, tmp_path / 'a.pth'
    )
    images = torch.randn(1, 3, 192, 192)
    with torch.no_grad():
        assert_close(features(network, images), source(images, None)[-1])


ARCH = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)


@pytest.fixture
def official_vit():
    """The released ViT: BEiT with one table of relative positions and no absolute ones."""
    network = timm.models.Beit(
        img_size=48, patch_size=16, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2, num_classes=0,
        init_values=0.1, use_shared_rel_pos_bias=True, use_abs_pos_emb=False, global_pool='token',
    )  # fmt: skip
    network = randomized(network)
    tensors = prefixed(network.state_dict(), 'encoder.')
    tensors['encoder.mask_token'] = torch.ones(1, 1, 32)
    tensors['encoder.rel_pos_bias.relative_position_index'] = torch.zeros(10, 10)
    tensors |= prefixed(nn.Conv2d(32, 3 * UNIT**2, 1).state_dict(), 'decoder.0.')
    return network, {'model': tensors}


def test_the_vit_becomes_a_beit_for_evaluation(official_vit, tmp_path):
    source, checkpoint = official_vit
    torch.save(checkpoint, tmp_path / 'a.pth')
    network = BEiTViT(
        ARCH, img_size=48, patch_size=16, use_rel_pos_bias=False, use_shared_rel_pos_bias=True,
        out_type='raw', final_norm=True,
    )  # fmt: skip
    network = randomized(network, seed=1)
    load_backbone(network, tmp_path / 'a.pth')
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        assert_close(features(network, images), source.forward_features(images))


def test_a_pre_training_refuses_the_vit_with_a_remedy(official_vit, tmp_path):
    _, checkpoint = official_vit
    torch.save(checkpoint, tmp_path / 'a.pth')
    options = dict(arch=ARCH, img_size=48, patch_size=16, layer_scale_init_value=1.0)
    remedy = r"has relative positions as in BEiT: use type='mmpretrain\.BEiTViT', with use_rel_pos"
    with pytest.raises(CheckpointError, match=remedy):
        load_backbone(MaskedVisionTransformer(**options), tmp_path / 'a.pth')
    model = nn.Module()
    model.backbone = MaskedVisionTransformer(**options)
    with pytest.raises(CheckpointError, match=remedy) as error:
        take_whole(model, checkpoint, 'a.pth')
    assert 'load its encoder alone' not in str(error.value)


def test_the_config_that_a_file_of_swins_own_code_carries_is_read_as_data(tmp_path, monkeypatch):
    class CfgNode(dict):
        """That of yacs, which is not installed: a dict with attributes."""

    module = ModuleType('yacs.config')
    module.CfgNode, CfgNode.__module__, CfgNode.__qualname__ = CfgNode, 'yacs.config', 'CfgNode'
    config = CfgNode(MODEL=CfgNode(TYPE='swin'))
    config.__dict__.update(__immutable__=True, __deprecated_keys__=set(), __renamed_keys__={})
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, 'yacs', ModuleType('yacs'))
        patch.setitem(sys.modules, 'yacs.config', module)
        torch.save(official()[0] | {'config': config, 'epoch': 99}, tmp_path / 'a.pth')
    assert open_checkpoint(tmp_path / 'a.pth')['config']['MODEL'] == {'TYPE': 'swin'}
    load_backbone(MaskedSwinTransformer(**BACKBONE), tmp_path / 'a.pth')
