"""BEiT and data2vec compute the same in timm, Hugging Face and mmpretrain."""

import pytest
import timm
import torch
import transformers
from mmpretrain.models.backbones import BEiTViT
from test_recognition import assert_close, features, prefixed, randomized

from mmmask.checkpoints import CheckpointError, find_tensors, load_backbone, open_checkpoint
from mmmask.checkpoints.convert import convert_checkpoint
from mmmask.models import MaskedVisionTransformer

ARCH = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
POSITIONS = dict(
    shared=dict(use_rel_pos_bias=False, use_shared_rel_pos_bias=True),
    each=dict(use_rel_pos_bias=True),
    absolute=dict(use_rel_pos_bias=False, use_abs_pos_emb=True),
)
COMPLETE = '0 missing [], 0 unexpected []'


def mmpretrains(positions, side=48, **options):
    network = BEiTViT(ARCH, img_size=side, patch_size=16, **POSITIONS[positions], **options)
    return randomized(network)


def huggingface(positions, kind='Data2VecVision', whole='Model', **arguments):
    config = getattr(transformers, f'{kind}Config')(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        image_size=48, patch_size=16, layer_norm_eps=1e-6, use_mask_token=True,
        use_shared_relative_position_bias=positions == 'shared',
        use_relative_position_bias=positions == 'each',
        use_absolute_position_embeddings=positions == 'absolute',
    )  # fmt: skip
    return randomized(getattr(transformers, f'{kind}{whole}')(config, **arguments))


@pytest.fixture
def images():
    return torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize('kind', ['Data2VecVision', 'Beit'])
@pytest.mark.parametrize('positions', POSITIONS)
def test_features_of_hugging_face(tmp_path, images, positions, kind):
    source = huggingface(positions, kind, add_pooling_layer=False)
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    network = mmpretrains(positions, out_type='raw')
    assert load_backbone(network, tmp_path / 'a.pth').endswith(COMPLETE)
    with torch.no_grad():
        assert_close(features(network, images), source(images).last_hidden_state)

    convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth')
    converted = prefixed(network.state_dict(), 'backbone.')
    tensors = find_tensors(open_checkpoint(tmp_path / 'b.pth'))
    assert tensors.keys() == converted.keys()  # with the indices of relative positions
    assert all(torch.equal(tensors[name], converted[name]) for name in tensors)


def test_a_classifier_of_data2vec_with_its_norm_of_the_mean(tmp_path, images):
    source = huggingface('each', whole='ForImageClassification')
    source.save_pretrained(tmp_path)
    network = mmpretrains('each')
    assert load_backbone(network, tmp_path).endswith(COMPLETE)
    with torch.no_grad():
        expected = source.data2vec_vision(images).pooler_output
    assert_close(features(network, images), expected)


@pytest.mark.parametrize('positions', ['shared', 'each'])
def test_features_of_timm(tmp_path, images, positions):
    """The names of the official code, too, which has the index in the file."""
    source = timm.models.Beit(
        img_size=48, patch_size=16, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2, num_classes=3,
        init_values=0.1, use_rel_pos_bias=positions == 'each',
        use_shared_rel_pos_bias=positions == 'shared', use_abs_pos_emb=False,
    )  # fmt: skip
    source = randomized(source)
    index = {'blocks.0.attn.relative_position_index': torch.zeros(10, 10)}
    torch.save({'model': source.state_dict() | index}, tmp_path / 'a.pth')
    network = mmpretrains(positions)
    assert load_backbone(network, tmp_path / 'a.pth').endswith(COMPLETE)
    with torch.no_grad():
        assert_close(features(network, images), source.forward_head(
            source.forward_features(images), pre_logits=True
        ))  # fmt: skip


def test_tables_of_relative_positions_are_resized_and_keep_the_class_token(tmp_path):
    source, network = mmpretrains('shared'), mmpretrains('shared', side=64)
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    assert load_backbone(network, tmp_path / 'a.pth').endswith(COMPLETE)
    old, new = (n.rel_pos_bias.relative_position_bias_table for n in (source, network))
    assert torch.equal(new[-3:], old[-3:])
    # The middle of 5 and of 7 offsets is the same one, 0.
    torch.testing.assert_close(new[24], old[12], atol=1e-6, rtol=0)


@pytest.mark.parametrize('allow_missing', [False, True])
def test_a_plain_encoder_refuses_relative_positions_with_a_remedy(tmp_path, allow_missing):
    torch.save(huggingface('shared').state_dict(), tmp_path / 'a.pth')
    network = MaskedVisionTransformer(ARCH, img_size=48, layer_scale_init_value=1.0)
    remedy = r"huggingface-beit .* use type='mmpretrain\.BEiTViT', with use_rel_pos_bias=False"
    with pytest.raises(CheckpointError, match=remedy):
        load_backbone(network, tmp_path / 'a.pth', allow_missing)


def test_windows_that_are_not_square_are_refused(tmp_path):
    source = timm.models.Beit(
        img_size=(48, 80), patch_size=16, embed_dim=32, depth=1, num_heads=2, init_values=0.1,
        use_rel_pos_bias=True, use_abs_pos_emb=False,
    )  # fmt: skip
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='a table of 48 relative positions'):
        convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth')
