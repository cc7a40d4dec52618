"""Self-supervised visual pre-training by masking, as a plugin of OpenMMLab."""

from importlib import import_module

__version__ = '0.1.0'

FUNCTIONS = (  # of mmmask.front, imported when they are first used
    *('pretrain', 'embed', 'finetune', 'detect', 'segment', 'evaluate', 'visualize', 'export'),
)


def __getattr__(name: str):
    if name in FUNCTIONS:
        return import_module('mmmask.front').function(name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted([*globals(), *FUNCTIONS])
