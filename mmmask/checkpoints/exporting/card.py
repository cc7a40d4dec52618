"""What a checkpoint says about its own pre-training, and the model card that states it."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath

from mmmask import __version__
from mmmask.config_text import Expression, read_config
from mmmask.outputs import MARK

_CARD = """---
{front_matter}
---

<!-- {mark}; remove this line to keep your changes when you export again -->

# {title}

{article} {encoder}, pre-trained without labels by masking with mmmask {version}.

## Load

```python
{snippet}```

{note}

Images are normalised with mean {mean} and standard deviation {std}, for values from 0 to 1.

## Pre-training

{recipe}

The table is what the checkpoint says. {measured}
"""
NOT_MEASURED = 'No accuracy is stated, because none was measured here.'


def config_of(meta: Mapping) -> dict:
    """The plain values of the config in a checkpoint's meta, by name; empty without a config."""
    values = read_config(meta.get('cfg', ''))
    return {name: value for name, value in values.items() if not isinstance(value, Expression)}


def normalization(meta: Mapping) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation of each channel for values from 0 to 255, if the config has them.

    A data preprocessor without mean does not normalise: mean 0 and standard deviation 1.
    """
    preprocessor = config_of(meta).get('model', {}).get('data_preprocessor')
    if not isinstance(preprocessor, dict):
        return None
    channels = len(preprocessor.get('mean') or ()) or 1
    mean, std = preprocessor.get('mean') or [0.0], preprocessor.get('std') or [1.0] * channels
    return [float(value) for value in mean], [float(value) for value in std]


def image_size(meta: Mapping) -> tuple[int, int]:
    """(H, W) of the images that a convolutional network was trained with; 224 if not known."""
    config = config_of(meta)
    places = config.get('model', {}).get('data_preprocessor'), config.get('train_dataloader')
    sizes = [
        entry[key]
        for place in places
        for entry in _dictionaries(place)
        if str(entry.get('type', '')).endswith(('Crop', 'DataPreprocessor'))
        for key in ('scale', 'crop_size', 'size')
        if key in entry
    ]
    size = sizes[-1] if sizes else 224
    return (size, size) if isinstance(size, int) else tuple(size)


def recipe(meta: Mapping) -> dict[str, str]:
    """The facts of a pre-training by name, as far as the checkpoint has them."""
    config = config_of(meta)
    model, loader = config.get('model', {}), config.get('train_dataloader', {})
    optimizer = config.get('optim_wrapper', {}).get('optimizer', {})
    plan = config.get('train_cfg', {})
    source = next((e[k] for e in _dictionaries(loader) for k in _SOURCES if e.get(k)), None)
    unit = 'epochs' if 'max_epochs' in plan else 'iters'
    done = meta.get('epoch' if unit == 'epochs' else 'iter')
    facts = {
        'method': _kind(model),
        'mask': _call(model.get('masking')),
        'target': _call(model.get('target_generator')),
        # Only the last part of a path: the others describe somebody's machine.
        'data': PurePath(str(source)).name if source else None,
        'trained for': f'{done} of {plan.get(f"max_{unit}")} {unit}' if done else None,
        'batch size of a process': loader.get('batch_size'),
        'optimizer': _call(optimizer),
        'seed': config.get('randomness', {}).get('seed', meta.get('seed')),
        'written': meta.get('time'),
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


_SOURCES = ('source', 'data_root', 'data_prefix')


def write_card(
    title: str,
    encoder: str,
    library: str,
    snippet: str,
    note: str,
    meta: Mapping,
    scaled: tuple[list[float], list[float]],
) -> str:
    """The text of ``README.md`` for a model hub.

    Args:
        title: name of the folder or of the repository.
        encoder: name of the encoder family.
        library: ``library_name`` of the hub.
        snippet: code that loads the folder.
        note: what a user must know beyond it.
        meta: of the checkpoint; its ``measured`` is a text about the quality of the features.
        scaled: mean and standard deviation for values from 0 to 1.
    """
    from huggingface_hub import ModelCardData

    facts = recipe(meta)
    tags = ['mmmask', 'self-supervised-learning', 'masked-image-modeling']
    data = ModelCardData(
        library_name=library,
        pipeline_tag='image-feature-extraction',
        tags=[*tags, *([facts['method'].lower()] if 'method' in facts else [])],
    )
    rows = ''.join(f'| {name} | {value} |\n' for name, value in facts.items())
    mean, std = ([round(value, 4) for value in values] for values in scaled)
    return _CARD.format(
        front_matter=data.to_yaml().strip(),
        mark=MARK,
        title=title,
        article='An' if encoder[0] in 'AEIOUaeiou' else 'A',
        encoder=encoder,
        version=__version__,
        snippet=snippet,
        note=note,
        mean=mean,
        std=std,
        recipe=f'| | |\n|---|---|\n{rows}'.strip(),
        measured=meta.get('measured', NOT_MEASURED),
    )


def _dictionaries(value) -> Iterator[dict]:
    """All dictionaries inside of a value, outer ones first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _dictionaries(item)


def _kind(config: Mapping) -> str | None:
    """The name of a class without its package: ``'mmmask.MAE'`` -> ``'MAE'``."""
    name = config.get('type')
    return name.rpartition('.')[2] if isinstance(name, str) else None


def _call(config: Mapping | None) -> str | None:
    """A component and its plain options, such as ``RandomMask(ratio=0.75)``."""
    if not config or not _kind(config):
        return None
    plain = (
        f'{key}={value!r}'
        for key, value in config.items()
        if key != 'type' and isinstance(value, int | float | str) and not _is_path(value)
    )
    return f'`{_kind(config)}({", ".join(plain)})`'


def _is_path(value) -> bool:
    return isinstance(value, str) and ('/' in value or '\\' in value)
