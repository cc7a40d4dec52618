"""Checkpoints by their names on the Hugging Face hub."""

import re
from pathlib import Path

from .files import FOLDER_FILES, CheckpointError

HUB_NAME = re.compile(r'hf[-_]hub:(?P<repository>[\w.-]+/[\w.-]+)|(?P<timm>timm/[\w.-]+)')


def find_pretrained(name: str) -> str:
    """The path of a checkpoint that is a file, a folder, or a name such as ``timm/vit_small_…``.

    ``hf-hub:OWNER/NAME`` and timm's own ``timm/NAME`` are downloaded once into the cache of
    huggingface_hub. A file or a folder of the same name is preferred.

    Raises:
        FileNotFoundError: if there is no such file and the hub has no such names.
        CheckpointError: if the file cannot be downloaded.
    """
    if Path(name).exists():
        return name
    match = HUB_NAME.fullmatch(name)
    if match is None:
        raise FileNotFoundError(
            f'--pretrained {name!r} does not exist: give a file, a folder of save_pretrained, or a '
            'name of the Hugging Face hub such as hf-hub:facebook/vit-mae-base or timm/NAME.'
        )
    return _download(match['repository'] or match['timm'], name)


def _download(repository: str, name: str) -> str:
    try:
        from huggingface_hub import errors, hf_hub_download
    except ImportError as error:
        raise CheckpointError(
            f'--pretrained {name!r} needs huggingface_hub: pip install huggingface_hub.'
        ) from error
    reason: Exception | None = None
    for file in FOLDER_FILES:
        try:
            return hf_hub_download(repository, file)
        except errors.LocalEntryNotFoundError as error:  # no network, and nothing in the cache
            reason = error
            break
        except errors.EntryNotFoundError as error:
            reason = error
        except (errors.HfHubHTTPError, OSError, ValueError) as error:
            reason = error
            break
    first_line = next(iter(str(reason).strip().splitlines()), type(reason).__name__)
    raise CheckpointError(
        f'--pretrained {name!r} could not be downloaded from the Hugging Face hub ({first_line}) '
        'Check the name and the network, or download the weights elsewhere and give their file.'
    ) from reason
