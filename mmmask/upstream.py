"""mmpretrain, imported without its optional packages, and operators for mmdet.

mmpretrain tries to import mmdet for one layer, and transformers for its multi-modal models. In a
complete environment both are imported, and take almost half of the start-up time
(docs/performance.md). :mod:`mmmask.registry` imports this module first, so every import of mmmask
that needs mmpretrain is guarded. It also lets :mod:`mmmask.operators` stand for the operators that
mmcv has not compiled, before mmdet looks for them.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

from mmmask.operators import provide_operators

# mmengine looks for one optimizer in transformers, mmpretrain for one transform in albumentations.
OPTIONAL = ('mmdet', 'transformers', 'albumentations')
# These define something only if the package is there. They are imported again by who needs them.
INCOMPLETE = ('mmpretrain.models.utils.res_layer_extra_norm',)


@contextmanager
def absent(*packages: str) -> Iterator[None]:
    """Let imports of packages fail as if they were not installed, apart from imported ones."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # what ``import`` takes for "does not exist"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def import_mmpretrain() -> None:
    """Import the parts of mmpretrain that mmmask extends.

    A package of ``OPTIONAL`` that is imported already stays visible. Where mmdet is hidden,
    ``mmpretrain.models.utils.res_layer_extra_norm`` can be imported again afterwards, which
    registers its layer in mmdet: detectors that use it name the module in ``custom_imports``.
    The multi-modal models of mmpretrain stay unregistered if transformers is hidden.
    """
    # mmpretrain prints which optional packages it has not found.
    with absent(*OPTIONAL), redirect_stdout(StringIO()):
        hides_transformers = sys.modules.get('transformers') is None
        from mmpretrain.utils import dependency

        has_multimodal = dependency.WITH_MULTIMODAL
        dependency.WITH_MULTIMODAL = has_multimodal and not hides_transformers
        try:
            import mmpretrain.datasets
            import mmpretrain.evaluation
            import mmpretrain.models  # noqa: F401
        finally:
            dependency.WITH_MULTIMODAL = has_multimodal
        hides_mmdet = sys.modules.get('mmdet') is None
    for name in INCOMPLETE if hides_mmdet else ():
        sys.modules.pop(name, None)


provide_operators()
import_mmpretrain()
