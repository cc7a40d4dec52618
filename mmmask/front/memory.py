"""The batch size that fits into the memory, from the tensors that a training step keeps."""

import os
from pathlib import Path

BYTES_KEPT_FREE = 0.2  # of the memory: workspaces, fragments, other processes
LARGEST = {'cuda': 256, 'cpu': 64}
SMALLEST = 8
STEPS = 16  # of an epoch, where there are few images
TRIED = 2  # images
# Files of control groups: the limit, what is used, and the line with the cache in it.
VERSION_1 = 'memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'
VERSION_2 = 'memory.max', 'memory.current', 'inactive_file'


def choose_batch(cfg, images: int, devices: int) -> tuple[int, str]:
    """The number of images per step on each device, a power of two, and the reason.

    It is as large as the memory allows, but at most ``LARGEST`` and a sixteenth of the images, or
    ``SMALLEST`` if that is more.

    Raises:
        ValueError: if not even one image fits.
    """
    import torch

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    fixed, each = measure(cfg)
    free = free_memory(device) / (1 if device == 'cuda' else devices)
    fits = int(((1 - BYTES_KEPT_FREE) * free - fixed) // each)
    if fits < 1:
        raise ValueError(
            f'a training step of one image needs {(fixed + each) / 2**30:.1f} GiB, and '
            f'{free / 2**30:.1f} GiB of memory are free: choose a smaller model or img_size.'
        )
    few = max(SMALLEST, images // (STEPS * devices))
    most = min(fits, LARGEST[device], few, max(1, images // devices))
    reason = {fits: 'memory', few: f'{images:,} images', LARGEST[device]: f'largest on {device}'}
    batch = 1 << (most.bit_length() - 1)
    return batch, f'{reason.get(most, "number of images")}; {each / 2**20:.0f} MiB per image'


def measure(cfg) -> tuple[float, float]:
    """Bytes of weights, gradients and AdamW, and bytes that a step keeps of each image, in fp32.

    The tensors that autograd saves are counted in one forward pass of two images on the CPU.
    """
    import torch
    from mmengine.registry import MODELS, init_default_scope

    from mmmask.apis.config_checks import first_image_size
    from mmmask.lab.benchmark.batch import synthetic_batch
    from mmmask.lab.memory import training_memory

    init_default_scope(cfg.get('default_scope', 'mmmask'))
    with torch.random.fork_rng(devices=[]):
        model = MODELS.build(cfg.model)
        model.train()
        fixed = training_memory(model, 1)['none']
        kept = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
        saved = {}

        def note(tensor):
            storage = tensor.untyped_storage()
            if tensor.device.type == 'cpu' and storage.data_ptr() not in kept:
                saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        images = torch.randn(TRIED, 3, *first_image_size(cfg))
        batch = synthetic_batch(model, images)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            losses = model(**batch, mode='loss')
    del losses
    return fixed, sum(saved.values()) / TRIED


def free_memory(device: str) -> int:
    """Bytes that are free on the GPU, or in the machine and the container on it."""
    import torch

    if device == 'cuda':
        return torch.cuda.mem_get_info()[0]
    return min([_free_in_machine(), *free_in_groups()])


def _free_in_machine(table: Path = Path('/proc/meminfo')) -> int:
    if table.exists():
        lines = dict(line.split(':', 1) for line in table.read_text().splitlines())
        if 'MemAvailable' in lines:  # not in those of all sandboxes
            return int(lines['MemAvailable'].split()[0]) * 1024
    return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 2


def free_in_groups(
    groups: Path = Path('/proc/self/cgroup'), mount: Path = Path('/sys/fs/cgroup')
) -> list[int]:
    """Bytes below the limit of each control group of this process, as containers set it.

    The groups are the process's own and those above it, whose limits hold too, in version 1 and 2.
    Their names may be those outside of the container, where the mounted folder begins at the group
    of the container: names without a folder are passed over.

    Args:
        groups: the names of the groups of this process.
        mount: the folder of all groups.
    """
    free = []
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, name = line.split(':', 2)
        if controllers and 'memory' not in controllers.split(','):
            continue
        root, files = (mount / 'memory', VERSION_1) if controllers else (mount, VERSION_2)
        own = root / name.lstrip('/')
        above = own.parents[: len(own.relative_to(root).parts)]
        free += [free_in_group(folder, *files) for folder in (own, *above)]
    return [number for number in free if number is not None]


def free_in_group(folder: Path, limit: str, used: str, cache: str) -> int | None:
    """Bytes below the limit of a group, or None without a limit.

    Args:
        folder: the group.
        limit, used: files with these numbers.
        cache: the line of ``memory.stat`` with those used bytes that the system frees when needed.
    """
    try:
        most, now = ((folder / name).read_text().strip() for name in (limit, used))
        lines = (folder / 'memory.stat').read_text().splitlines()
    except OSError:
        return None
    if most == 'max':
        return None
    freed = dict(map(str.split, lines)).get(cache, 0)
    return max(0, int(most) - int(now) + int(freed))
