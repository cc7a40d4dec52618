"""mmengine's loaders of checkpoints, replaced by ones that use :func:`open_checkpoint`."""

import logging
import os
from pathlib import Path

import torch
from mmengine import dist
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import nn

from .backbone import RELATIVE_POSITIONS, is_beit
from .files import CheckpointError, find_tensors, open_checkpoint
from .layouts import WHOLE_MODELS
from .recognition import describe_names, recognize
from .renaming import kind_of


def load_from_file(path: str, map_location=None) -> dict:
    """A local checkpoint, on the CPU; ``map_location`` is ignored.

    Raises:
        FileNotFoundError, CheckpointError: see :func:`open_checkpoint`.
    """
    checkpoint = open_checkpoint(os.path.expanduser(path))
    meta = checkpoint.get('meta')
    if isinstance(meta, dict):
        meta.pop('config', None)  # mmengine would execute it on resuming, as a Python config
    return checkpoint


def load_from_url(url: str, map_location=None) -> dict:
    """A checkpoint from the web, downloaded once into PyTorch's cache."""
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    path = folder / url.split('?')[0].rpartition('/')[2]
    if os.environ.get('LOCAL_RANK', '0') == '0' and not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=os.isatty(0))
    dist.barrier()
    return load_from_file(str(path))


def load_from_name(name: str, map_location=None) -> dict:
    """A checkpoint by its name in the lists of mmengine and torchvision.

    Raises:
        CheckpointError: if the name is in no list.
    """
    scheme, _, name = name.partition('://')
    if scheme in ('torchvision', 'modelzoo'):
        addresses = mmengine_checkpoint.get_torchvision_models()
    elif scheme == 'mmcls':
        addresses = mmengine_checkpoint.get_mmcls_models()
    else:
        name = mmengine_checkpoint.get_deprecated_model_names().get(name, name)
        addresses = mmengine_checkpoint.get_external_models()
    if name not in addresses:
        raise CheckpointError(f'{scheme}://{name} is not a known checkpoint: give a file or a URL.')
    checkpoint = load_from_url(addresses[name])
    if scheme == 'mmcls':
        return mmengine_checkpoint._process_mmcls_checkpoint(checkpoint)
    return checkpoint


def take_whole(model: nn.Module, checkpoint: dict, path: str) -> None:
    """Prepare a checkpoint for ``load_from``: put its tensors where mmengine looks for them.

    Pre-trainings of ``WHOLE_MODELS``, such as the official ones of LocalMIM, MAE and SimMIM, get
    mmmask's names, decoders included. A warning names the tensors that the file lacks and those
    that are not used.

    Raises:
        CheckpointError: if the file fills less than half of the model's tensors.
    """
    tensors = find_tensors(checkpoint, path)
    if not kind_of(tensors) and (match := recognize(tensors, WHOLE_MODELS)).fits:
        print_log(f'{path}: recognised as {match}', logger='current')
        tensors = match.rename(tensors).tensors
    checkpoint['state_dict'] = tensors
    own = model.state_dict()
    fitting = {name for name in own if name in tensors and tensors[name].shape == own[name].shape}
    if 2 * len(fitting) < len(own):
        remedy = (
            RELATIVE_POSITIONS
            if is_beit(tensors) and not is_beit(own)
            else 'Use the config that the file was made with, or load its encoder alone with '
            '--pretrained.'
        )
        raise CheckpointError(
            f'load_from={path!r} fills {len(fitting)} of the {len(own)} tensors of '
            f'{type(model).__name__}: it {describe_names(tensors)} {remedy}'
        )
    gaps = dict(
        missing=[name for name in own if name not in fitting],
        unused=[name for name in tensors if name not in fitting],
    )
    counts = ', '.join(
        f'{len(names)} {kind} ({", ".join(names[:5])}{", …" if len(names) > 5 else ""})'
        for kind, names in gaps.items()
        if names
    )
    line = f'load_from={path}: {len(fitting)} of {len(own)} tensors of the model are filled'
    if counts:
        line += f'; {counts}. What is missing keeps its initial values.'
    print_log(line, logger='current', level=logging.WARNING if counts else logging.INFO)


def load_from_nowhere(path: str, map_location=None) -> dict:
    """Refuse a storage that mmmask cannot read as data.

    Raises:
        CheckpointError: always.
    """
    raise CheckpointError(f'{path} is in a storage that mmmask does not read: copy it to a file.')


LOADERS = (
    (load_from_file, ''),
    (load_from_url, ('http://', 'https://')),
    (
        load_from_name,
        ('torchvision://', 'modelzoo://', 'open-mmlab://', 'openmmlab://', 'mmcls://'),
    ),
    (load_from_nowhere, ('pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://')),
)


def read_checkpoints_as_data() -> None:
    """Replace mmengine's loaders for the rest of the process; call this before a runner runs.

    mmengine executes a pickle that it cannot read as data. Afterwards ``load_from``, ``--resume``,
    ``init_cfg`` of type ``Pretrained`` and mmengine's own functions open checkpoints as data or
    not at all.
    """
    for loader, prefixes in LOADERS:
        CheckpointLoader.register_scheme(prefixes, loader, force=True)
