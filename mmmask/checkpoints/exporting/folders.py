"""Folders that ``transformers`` and timm load by themselves, for use and for model hubs."""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mmmask.outputs import MARK, OutputFolder

from ..files import PICKLES, SAFETENSORS, CheckpointError, find_tensors, write_checkpoint
from .card import config_of, normalization, write_card
from .verification import verified

if TYPE_CHECKING:
    from .family import Plan

HUBS = dict(timm='timm', huggingface='transformers')  # target -> ``library_name`` of the hub
FILES = ('config.json', 'preprocessor_config.json', 'README.md', 'model.safetensors')
# Names of timm's registry that build any network of their kind, with the layers that it replaces if
# images have other channels or a classifier is added.
_TIMM_LAYERS = dict(
    vit_base_patch16_224=dict(first_conv='patch_embed.proj', classifier='head'),
    convnext_base=dict(first_conv='stem.0', classifier='head.fc'),
)
CROP_FRACTION = 0.875  # 224 of 256 px, as the evaluations of mmmask resize and crop
_LOAD = {
    'huggingface': """from transformers import AutoImageProcessor, AutoModel

processor = AutoImageProcessor.from_pretrained({name!r})
model = AutoModel.from_pretrained({name!r}, add_pooling_layer=False)
""",
    'timm': """import timm

model = timm.create_model({source!r}, pretrained=True)
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
""",
}
_USE = {
    'huggingface': 'features = model(**processor(image, return_tensors="pt")).last_hidden_state\n',
    'timm': 'features = model.eval().forward_features(transform(image).unsqueeze(0))\n',
}


def is_folder(dst: Path, target: str) -> bool:
    """Whether an export writes a folder instead of a file.

    Raises:
        CheckpointError: if the name is neither that of a file nor that of a folder.
    """
    if target not in HUBS or (dst.suffix in (SAFETENSORS, *PICKLES) and not dst.is_dir()):
        return False
    if dst.suffix and not dst.is_dir():
        raise CheckpointError(
            f'{dst}: a file ends in .pth or {SAFETENSORS}, and a new folder has no dot in its name.'
        )
    return True


def loading_code(target: str, name: str, kind: str = 'local-dir') -> str:
    """Code that loads a folder, or with the kind ``'hf-hub'`` a repository of the hub."""
    return _LOAD[target].format(name=name, source=f'{kind}:{name}')


def write_folder(
    plan: 'Plan',
    meta: Mapping,
    dst: Path,
    target: str,
    measure: Callable[[Path], float],
    encoder: str,
    repository: str | None = None,
) -> float:
    """Write a folder unless it gives other features; return their difference.

    Args:
        plan: of the export.
        meta: of the checkpoint, with the config that states the normalisation.
        dst: folder to write, which may exist.
        target: one of ``HUBS``.
        measure: folder -> difference of the features that the library computes from it.
        encoder: name of the encoder family, for the model card.
        repository: name on the hub, if the folder goes there.

    Raises:
        CheckpointError: if the normalisation is unknown, images have no colours that the library's
            preprocessing knows, or the features differ.
        FileExistsError: if a file in the folder was not written by mmmask.
        ModuleNotFoundError: if the library is not installed.
    """
    normalized = _normalization(plan.image_shape[0], meta, target)
    texts = _configs(plan, target, *normalized)
    name, kind = (repository, 'hf-hub') if repository else (dst.resolve().name, 'local-dir')
    code = loading_code(target, name, kind) + _USE[target]
    texts['README.md'] = write_card(name, encoder, HUBS[target], code, plan.note, meta, normalized)
    output = OutputFolder(dst)
    for name in (*texts, 'model.safetensors'):
        output.claim(name, 'the export')
    dst.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dst.parent, prefix='.unfinished-') as folder:
        draft = Path(folder)
        for name, text in texts.items():
            (draft / name).write_text(text)
        write_checkpoint(find_tensors(plan.content), draft / 'model.safetensors')
        difference = verified(draft, target, measure)
        for name in (*texts, 'model.safetensors'):
            with output.file(name) as path:
                shutil.copyfile(draft / name, path)
    return difference


def _normalization(channels: int, meta: Mapping, target: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation for values from 0 to 1.

    Raises:
        CheckpointError: if the checkpoint does not state them, or if the library would read colours
            in another order.
    """
    known = normalization(meta)
    if known is None:
        raise CheckpointError(
            "a folder states the normalisation of images, but the checkpoint's config has no "
            'model.data_preprocessor: give a checkpoint of a pre-training, or write a file that '
            f'ends in {SAFETENSORS}.'
        )
    mean, std = ([value / 255 for value in values] for values in known)
    mean, std = (v * channels if len(v) == 1 else v for v in (mean, std))
    preprocessor = config_of(meta)['model']['data_preprocessor']
    if channels == 3 and not (preprocessor.get('bgr_to_rgb') or preprocessor.get('to_rgb')):
        raise CheckpointError(
            'the network was trained without model.data_preprocessor.bgr_to_rgb=True, so its '
            f'channels are not in the order red, green, blue of {HUBS[target]}: write a file that '
            f'ends in {SAFETENSORS}.'
        )
    if channels not in (1, 3):
        raise CheckpointError(
            f'the network takes images with {channels} channels, and the preprocessing of '
            f'{HUBS[target]} supports 1 and 3: write a file that ends in {SAFETENSORS}.'
        )
    return mean, std


def _configs(plan: 'Plan', target: str, mean: list[float], std: list[float]) -> dict[str, str]:
    """The JSON files of a folder, by name."""
    channels, height, width = plan.image_shape
    if target == 'timm':
        pretrained = dict(
            input_size=[channels, height, width],
            fixed_input_size='img_size' in plan.hub_config['model_args'],
            interpolation='bicubic',
            crop_pct=CROP_FRACTION,
            crop_mode='center',
            mean=mean,
            std=std,
            num_classes=0,
            **_TIMM_LAYERS[plan.hub_config['architecture']],
        )
        files = {'config.json': dict(**plan.hub_config, pretrained_cfg=pretrained)}
    else:
        preprocessing = dict(
            image_processor_type='BitImageProcessor',
            do_convert_rgb=channels == 3,
            do_resize=True,
            size=dict(shortest_edge=int(max(height, width) / CROP_FRACTION)),
            resample=3,  # bicubic
            do_center_crop=True,
            crop_size=dict(height=height, width=width),
            do_rescale=True,
            rescale_factor=1 / 255,
            do_normalize=True,
            image_mean=mean,
            image_std=std,
        )
        files = {'config.json': plan.hub_config, 'preprocessor_config.json': preprocessing}
    return {
        name: json.dumps(content | dict(origin=MARK), indent=2) + '\n'
        for name, content in files.items()
    }


def check_repository(repository: str) -> None:
    """Check that something can be pushed to a repository of the Hugging Face hub.

    Raises:
        CheckpointError: if the name is not ``OWNER/NAME``, or if there is no token.
    """
    try:
        from huggingface_hub import get_token
        from huggingface_hub.utils import HFValidationError, validate_repo_id
    except ModuleNotFoundError as error:
        raise CheckpointError(
            '--push needs huggingface_hub: pip install "mmmask[export]".'
        ) from error
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise CheckpointError(f'--push {repository!r}: {error}') from error
    if repository.count('/') != 1:
        raise CheckpointError(f'--push {repository!r} must be OWNER/NAME.')
    if not get_token():
        raise CheckpointError(
            f'--push {repository} needs a token of the Hugging Face hub: run `hf auth login` or '
            'set HF_TOKEN.'
        )


def push_folder(folder: Path, repository: str) -> str:
    """Upload an exported folder to the Hugging Face hub, and return the address.

    A new repository is private. Only the files of the export are uploaded.

    Raises:
        CheckpointError: if the hub refuses or does not answer.
    """
    from huggingface_hub import create_repo, upload_folder
    from huggingface_hub.errors import HfHubHTTPError

    try:
        address = create_repo(repository, private=True, exist_ok=True)
        upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(FILES),
            commit_message='Upload a backbone with mmmask',
        )
    except (HfHubHTTPError, OSError) as error:
        raise CheckpointError(
            f'--push {repository} failed, but {folder} is complete: {str(error).strip()}'
        ) from error
    return str(address)
