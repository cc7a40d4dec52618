import argparse
import os

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file

from mmmask.checkpoints import (
    CheckpointError,
    find_tensors,
    open_checkpoint,
    rename,
    write_checkpoint,
)
from mmmask.checkpoints.exporting.vit import read_architecture

WEIGHTS = {'layer.weight': torch.arange(6.0).reshape(2, 3), 'layer.bias': torch.ones(2)}


class Reduced:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('zipped', [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, zipped):
    path, trace = tmp_path / 'evil.pth', tmp_path / 'trace'
    evil = Reduced(os.system, f'touch {trace}')
    torch.save({'model': WEIGHTS, 'optimizer': [evil]}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r'evil.pth was refused .* asks for \w+\.system'):
        open_checkpoint(path)
    assert not trace.exists()
    # The trap works: pickle itself would have sprung it.
    torch.load(path, weights_only=False)
    assert trace.exists()


@pytest.mark.parametrize('owner, name', [(HistoryBuffer, '__init__'), (argparse, 'Namespace')])
def test_getattr_reaches_log_statistics_only(tmp_path, owner, name):
    path = tmp_path / 'evil.pth'
    if owner is HistoryBuffer:
        torch.save({'x': Reduced(getattr, owner, name)}, path)
    else:
        torch.save({'x': Reduced(getattr, Reduced(__import__, 'os'), 'system')}, path)
    with pytest.raises(CheckpointError, match='was refused'):
        open_checkpoint(path)


def test_what_honest_checkpoints_hold_is_read(tmp_path):
    buffer = HistoryBuffer([1.0, 2.0, 6.0], [1, 1, 1])
    torch.save(
        {
            'state_dict': WEIGHTS,
            'args': argparse.Namespace(blr=1.5e-4, model='mae_vit_base_patch16'),
            'message_hub': {'log_scalars': {'train/loss': buffer}},
            'meta': {
                'seed': np.int64(7),
                'ratio': np.float32(0.75),
                'table': np.arange(3, dtype=np.int32),
                'flags': np.array([True, False]),
            },
        },
        tmp_path / 'good.pth',
    )
    checkpoint = open_checkpoint(tmp_path / 'good.pth')
    assert checkpoint['args'].blr == 1.5e-4
    assert checkpoint['message_hub']['log_scalars']['train/loss'].mean() == 3.0
    assert checkpoint['meta']['seed'] == 7 and checkpoint['meta']['ratio'] == 0.75
    assert checkpoint['meta']['table'].tolist() == [0, 1, 2]
    assert checkpoint['meta']['flags'].tolist() == [True, False]
    assert torch.equal(find_tensors(checkpoint)['layer.weight'], WEIGHTS['layer.weight'])


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('kept', [0.0, 0.3, 0.95])
def test_truncated_files_say_so(tmp_path, suffix, kept):
    path = tmp_path / f'torn{suffix}'
    write_checkpoint({'state_dict': {'w': torch.randn(1000)}}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CheckpointError, match='torn.* is truncated .* save it again'):
        open_checkpoint(path)


@pytest.mark.parametrize(
    'content', [b'<html>404 Not Found</html>', bytes(range(256)), b'\x80\x02.']
)
def test_files_of_another_kind_say_so(tmp_path, content):
    (tmp_path / 'page.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match=r'page.pth \(\d+ bytes\) is truncated or was not'):
        open_checkpoint(tmp_path / 'page.pth')


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no checkpoint file .*absent\.pth'):
        open_checkpoint(tmp_path / 'absent.pth')


def test_a_file_without_weights_tells_what_it_holds(tmp_path):
    torch.save(torch.ones(2), tmp_path / 'tensor.pth')
    with pytest.raises(CheckpointError, match='holds a Tensor, not a dict'):
        open_checkpoint(tmp_path / 'tensor.pth')
    with pytest.raises(CheckpointError, match=r"'epoch' \(int\), 'lr' \(float\)"):
        find_tensors({'epoch': 3, 'lr': 0.1})
    with pytest.raises(CheckpointError, match='found an empty dict'):
        find_tensors({'state_dict': {}})


@pytest.mark.parametrize(
    'wrapped', [lambda w: w, lambda w: {'model': w}, lambda w: {'state_dict': w}]
)
def test_weights_are_found_where_the_libraries_put_them(wrapped):
    assert find_tensors(wrapped(WEIGHTS)) == WEIGHTS


def test_safetensors_keep_tensors_and_meta(tmp_path):
    path = tmp_path / 'weights.safetensors'
    write_checkpoint({'state_dict': WEIGHTS, 'meta': {'epoch': 3, 'cfg': 'a = 1'}}, path)
    checkpoint = open_checkpoint(path)
    assert checkpoint['meta'] == {'epoch': 3, 'cfg': 'a = 1'}
    assert all(torch.equal(checkpoint['state_dict'][name], WEIGHTS[name]) for name in WEIGHTS)

    save_file(WEIGHTS, tmp_path / 'foreign.safetensors')
    assert open_checkpoint(tmp_path / 'foreign.safetensors')['meta'] == {}


def test_a_written_view_leaves_its_base_behind(tmp_path):
    base = torch.randn(3 * 10_000)
    write_checkpoint({'state_dict': {'w': base.chunk(3)[1]}}, tmp_path / 'view.pth')
    assert (tmp_path / 'view.pth').stat().st_size < 45_000
    assert torch.equal(
        open_checkpoint(tmp_path / 'view.pth')['state_dict']['w'], base[10_000:20_000]
    )


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / 'weights.pth'
    write_checkpoint(WEIGHTS, path)
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        write_checkpoint({'model': WEIGHTS, 'callback': lambda: 0}, path)
    assert torch.equal(open_checkpoint(path)['layer.bias'], torch.ones(2))
    assert os.listdir(tmp_path) == ['weights.pth']


def test_a_file_name_without_a_known_suffix_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r'weights.npz: .* ends in .pth or .safetensors'):
        write_checkpoint(WEIGHTS, tmp_path / 'weights.npz')


def encoder(width=32, depth=2, hidden=64, patches=16, prefix='backbone.'):
    """Zero tensors with the names and shapes of a vision transformer for 16 px patches."""
    shapes = {
        'cls_token': (1, 1, width),
        'pos_embed': (1, 1 + patches, width),
        'patch_embed.projection.weight': (width, 3, 16, 16),
        'patch_embed.projection.bias': (width,),
    }
    for i in range(depth):
        for name, shape in {
            'ln1': (width,),
            'ln2': (width,),
            'attn.qkv': (3 * width, width),
            'attn.proj': (width, width),
            'ffn.layers.0.0': (hidden, width),
            'ffn.layers.1': (width, hidden),
        }.items():
            shapes |= {f'layers.{i}.{name}.weight': shape, f'layers.{i}.{name}.bias': shape[:1]}
    return {prefix + name: torch.zeros(shape) for name, shape in shapes.items()}


def test_fused_attention_splits_into_query_key_and_value():
    tensors = encoder(depth=1)
    tensors['backbone.layers.0.attn.qkv.bias'] = torch.arange(96.0)
    split = rename(tensors, 'huggingface', 'ours').tensors
    name = 'encoder.layer.0.attention.attention.{}.bias'
    assert split[name.format('query')].tolist() == list(range(32))
    assert split[name.format('key')].tolist() == list(range(32, 64))
    assert split[name.format('value')].tolist() == list(range(64, 96))
    joined = rename(split, 'huggingface', 'theirs').tensors
    assert torch.equal(joined['backbone.layers.0.attn.qkv.bias'], torch.arange(96.0))


def test_unknown_and_missing_names_are_listed():
    tensors = encoder()
    del tensors['backbone.layers.0.ln2.bias']
    tensors['backbone.layers.1.gamma'] = torch.ones(1)
    with pytest.raises(CheckpointError) as error:
        rename(tensors, 'timm', 'ours')
    assert '1 unknown: backbone.layers.1.gamma\n' in str(error.value)
    assert '1 missing: backbone.layers.0.ln2.bias\n' in str(error.value)


def test_a_missing_block_between_others_is_noticed():
    tensors = encoder(depth=3)
    for name in [name for name in tensors if name.startswith('backbone.layers.1.')]:
        del tensors[name]
    with pytest.raises(CheckpointError, match=r'12 missing: backbone\.layers\.1\.attn\.proj\.bias'):
        rename(tensors, 'timm', 'ours')


def test_other_sections_are_left_out_and_reported():
    tensors = encoder() | {'momentum.w': torch.ones(1), 'neck.w': torch.ones(1)}
    renaming = rename(tensors, 'timm', 'ours')
    assert renaming.left_out == ['momentum.w', 'neck.w']
    assert len(renaming.tensors) == len(renaming.matched) == len(encoder())
    assert '28 tensors matched; left out: momentum (1), neck (1)' in str(renaming)
    assert '   4 x  backbone.layers.*.ln1.{weight,bias}' in str(renaming)


CONFIG = """
import os
base = dict(arch='large')
model = dict(
    type='mmmask.LocalMIM',
    backbone=dict(
        type='mmmask.MaskedVisionTransformer',
        arch=dict(embed_dims=32, num_layers=2, num_heads=8, feedforward_channels=64),
        img_size=(32, 128),
        patch_size=16,
        out_indices=[0, -1]))
"""


def test_architecture_is_read_from_tensors_and_config():
    architecture = read_architecture(encoder(), {'cfg': CONFIG})
    assert architecture.arch == {
        'embed_dims': 32,
        'num_layers': 2,
        'num_heads': 8,
        'feedforward_channels': 64,
    }
    assert architecture.img_size == architecture.image_size == (32, 128)
    assert (architecture.patch_size, architecture.in_channels) == (16, 3)
    assert architecture.out_indices == (0, 1)
    assert architecture.final_norm is False


@pytest.mark.parametrize(
    'width, depth, hidden, heads', [(192, 12, 768, 3), (384, 12, 1536, 6), (768, 12, 3072, 12)]
)
def test_heads_of_standard_architectures_need_no_config(width, depth, hidden, heads):
    with torch.device('meta'):
        tensors = encoder(width, depth, hidden, patches=196)
    architecture = read_architecture(tensors, {})
    assert architecture.arch['num_heads'] == heads
    assert architecture.image_size == 224


def test_a_config_is_never_executed(tmp_path):
    trace = tmp_path / 'trace'
    evil = f"model = dict(backbone=dict(arch=__import__('os').system('touch {trace}')))"
    with pytest.raises(CheckpointError, match=r"meta\['cfg'\] does not name model.backbone"):
        read_architecture(encoder(), {'cfg': evil})
    assert not trace.exists()


@pytest.mark.parametrize(
    'meta, heads, message',
    [
        ({}, None, 'width 32, 2 layers and an MLP of 64: give num_heads'),
        ({}, 5, 'num_heads=5 does not divide the width 32'),
        ({'cfg': CONFIG}, 4, "num_heads=4, but the checkpoint's config says 8"),
        (
            {'cfg': CONFIG.replace('patch_size', "norm_cfg=dict(type='BN'), patch_size")},
            None,
            r"trained with \{'norm_cfg': \{'type': 'BN'\}\}",
        ),
        ({'cfg': CONFIG.replace('128', '64')}, None, 'has 16 patches of 16 px, which does not fit'),
    ],
)
def test_what_tensors_and_config_leave_open_is_an_error(meta, heads, message):
    with pytest.raises(CheckpointError, match=message):
        read_architecture(encoder(), meta, heads)
