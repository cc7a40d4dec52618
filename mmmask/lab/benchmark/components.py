"""Components against their alternatives."""

import time

from mmengine.logging import MMLogger

from .augmentation import augmentation_calls
from .durability import checkpoint_calls, step_calls
from .hierarchy import hierarchy_calls
from .hog import hog_calls
from .lars import lars_calls
from .loader import loader_calls
from .maskdeep import maskdeep_calls
from .measuring import describe_machine, interleave, peak_memory, resolve_device
from .report import Report, Result
from .startup import startup_report
from .swin import swin_calls

# name -> function of batch size, image size and device that returns named calls: the first is the
# component, the others are its alternatives. Only startup makes its report alone.
COMPONENTS = dict(
    augmentation=augmentation_calls,
    checkpoint=checkpoint_calls,
    hierarchy=hierarchy_calls,
    hog=hog_calls,
    lars=lars_calls,
    loader=loader_calls,
    maskdeep=maskdeep_calls,
    startup=startup_report,
    step=step_calls,
    swin=swin_calls,
)

# Loaders run in processes beside the training, one on each core; LARS is compared with a loop.
CPU_TIMED = ('lars', 'loader')
WITHOUT_IMAGES = ('checkpoint', 'lars')


def benchmark_component(
    name: str,
    batch_size: int = 16,
    img_size: int | None = None,
    iters: int = 10,
    warmup: int = 2,
    device: str = 'auto',
) -> Report:
    """Time a component and its alternatives in turn; ratios are to the component itself.

    Args:
        name: key of ``COMPONENTS``.
        batch_size: images per call.
        img_size: side of the images, 224 by default.
        iters: rounds that are measured.
        warmup: rounds before them.
        device: ``'cpu'``, ``'cuda'`` or ``'auto'``.
    """
    MMLogger.get_current_instance().setLevel('WARNING')  # no list of initialized tensors
    if name == 'startup':
        return startup_report(iters)
    device, size = resolve_device(device), img_size or 224
    calls = COMPONENTS[name](batch_size, size, device)
    memory = [peak_memory(call, device) for call in calls.values()]
    clock = time.process_time if name in CPU_TIMED else None
    timings = interleave(list(calls.values()), iters, warmup, device, clock)
    images = 0 if name in WITHOUT_IMAGES else batch_size
    results = [
        Result(label, *timing, images / timing.seconds or None, peak)
        for label, timing, peak in zip(calls, timings, memory, strict=True)
    ]
    settings = dict(batch_size=batch_size, image_sizes=[(size, size)]) if images else {}
    return Report(results, describe_machine(device) | settings)
