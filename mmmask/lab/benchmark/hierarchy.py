"""Cost of the hierarchy of evolved masking, stage by stage, and of random masking."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmask.masking import EvolvedHierarchyMask, EvolvedPartMask, RandomMask
from mmmask.masking.hierarchy import affinity, build_tree, cut_tree, mask_nodes
from mmmask.models import EncoderParser, MaskedVisionTransformer

NUM_NODES = 24  # half-way through training on 196 patches


def hierarchy_calls(batch_size: int, img_size: int, device: torch.device) -> dict[str, Callable]:
    """Tree, cut and sampling of masks; each stage alone; whole generators, random masking last.

    The number of merge rounds depends on the image, so the evidence is the attention of a randomly
    initialized ViT-B/16 on photographs.
    """
    torch.manual_seed(0)
    backbone = MaskedVisionTransformer(arch='base', img_size=img_size, patch_size=16)
    backbone.init_weights()
    evidence = EncoderParser(backbone.to(device), momentum=None)(
        photographs(batch_size, img_size).to(device)
    )
    grid = (img_size // 16, img_size // 16)
    generators = dict(
        random=RandomMask(), hierarchy=EvolvedHierarchyMask(), parts=EvolvedPartMask()
    )
    for name in ('hierarchy', 'parts'):
        generators[name].set_progress(0.5)
    weights = affinity(evidence)
    parent, _ = build_tree(weights)
    labels = cut_tree(parent, NUM_NODES)
    num_keep = grid[0] * grid[1] // 4

    def generate(name: str) -> Callable:
        return lambda: generators[name](batch_size, grid, device, evidence)

    return {
        'tree, cut, sample': lambda: mask_nodes(
            cut_tree(build_tree(weights)[0], NUM_NODES), num_keep
        ),
        'affinity': lambda: affinity(evidence),
        'tree': lambda: build_tree(weights),
        'cut': lambda: cut_tree(parent, NUM_NODES),
        'sample': lambda: mask_nodes(labels, num_keep),
        'EHM': generate('hierarchy'),
        'EPM': generate('parts'),
        'random': generate('random'),
    }


def photographs(num_images: int, img_size: int) -> Tensor:
    """(B, 3, H, W) crops of scikit-image's photographs, normalized, the same ones each time."""
    from skimage import data

    images = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    generator = torch.Generator().manual_seed(0)
    crops = []
    for index in range(num_images):
        image = torch.from_numpy(images[index % len(images)].copy()).permute(2, 0, 1) / 255
        height, width = image.shape[1:]
        fraction = 0.5 + 0.5 * torch.rand(3, generator=generator)
        side = int(min(height, width) * fraction[0])
        top, left = int((height - side) * fraction[1]), int((width - side) * fraction[2])
        crop = image[None, :, top : top + side, left : left + side]
        crops.append(F.interpolate(crop, img_size, mode='bilinear', antialias=True))
    return (torch.cat(crops) - 0.45) / 0.226
