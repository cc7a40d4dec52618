"""``--pretrained`` takes names of the Hugging Face hub, and says in one sentence what fails."""

import huggingface_hub
import pytest
from huggingface_hub import errors

from mmmask.checkpoints import CheckpointError, find_pretrained


def test_files_and_folders_are_preferred(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'timm/vit').mkdir(parents=True)
    assert find_pretrained('timm/vit') == 'timm/vit'


@pytest.mark.parametrize(
    ('name', 'repository'),
    [
        ('hf-hub:facebook/vit-mae-base', 'facebook/vit-mae-base'),
        ('hf_hub:facebook/vit-mae-base', 'facebook/vit-mae-base'),
        ('timm/vit_small_patch14.lvd142m', 'timm/vit_small_patch14.lvd142m'),
    ],
)
def test_names_are_downloaded(monkeypatch, name, repository):
    asked = []

    def download(repo, file):
        asked.append((repo, file))
        if file == 'model.safetensors':
            raise errors.EntryNotFoundError('404')
        return f'/cache/{file}'

    monkeypatch.setattr(huggingface_hub, 'hf_hub_download', download)
    assert find_pretrained(name) == '/cache/pytorch_model.bin'
    assert asked == [(repository, 'model.safetensors'), (repository, 'pytorch_model.bin')]


def test_without_network_there_is_one_sentence(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    with pytest.raises(CheckpointError) as error:
        find_pretrained('hf-hub:nobody/nothing-of-this-name')
    assert str(error.value).startswith(
        "--pretrained 'hf-hub:nobody/nothing-of-this-name' could not be downloaded from"
    )
    assert str(error.value).endswith('or download the weights elsewhere and give their file.')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('name', ['missing.pth', 'folder/missing.pth', 'hf-hub:only-a-name'])
def test_other_names_are_files_that_are_missing(name):
    with pytest.raises(FileNotFoundError, match=f'--pretrained {name!r} does not exist'):
        find_pretrained(name)
