"""Masks from image parts that the model itself finds (evolved part masking)."""

import torch
from torch import Tensor

from .evolved import EvolvedMask
from .mask import Mask, mask_from_scores, num_visible


@torch.no_grad()
def partition(
    attention: Tensor,
    num_parts: int | Tensor,
    max_parts: int,
    concentration: float = 40.0,
    num_rounds: int = 15,
) -> Tensor:
    """(B, N, N) attention summed over layers and heads -> labels (B, N) of parts, 0..P−1.

    Expectation maximisation as in the released code of EPM. A patch is represented by its
    **column**, the attention that it receives. The columns are not normalised, so the scale of the
    attention matters. The initial centroids are random and the same for all images. Before the
    final argmax, memberships are normalised over the patches of each part; this favours small
    parts. Parts may be empty.

    Args:
        attention: row = query, no class token.
        num_parts: number of parts, an int or a tensor of one element on the same device.
        max_parts: P, the largest possible number of parts; it determines the shapes.
        concentration: factor on the product of a patch with a centroid.
        num_rounds: rounds of expectation and maximisation.
    """
    with torch.autocast(attention.device.type, enabled=False):
        patches = attention.mT if attention.dtype == torch.float64 else attention.float().mT
        unused = torch.arange(max_parts, device=patches.device) >= num_parts

        def memberships(centroids: Tensor) -> Tensor:
            """(B, P, N) directions -> (B, N, P), each part summing to 1 over the patches."""
            logits = concentration * patches @ centroids.mT
            member = logits.masked_fill(unused, -torch.inf).softmax(dim=2)
            return member / (member.sum(dim=1, keepdim=True) + 1e-6)

        # The released code has a variance of 2/K, which has no effect: centroids are normalised.
        noise = torch.randn(1, max_parts, patches.shape[2], device=patches.device)
        centroids = directions(noise.to(patches.dtype)).expand(len(patches), -1, -1)
        for _ in range(num_rounds):
            centroids = directions(memberships(centroids).mT @ patches)
        return memberships(centroids).argmax(dim=2)


def directions(vectors: Tensor) -> Tensor:
    """(..., N) vectors divided by their norm + 1e-6, as in the released code."""
    return vectors / (vectors.norm(dim=-1, keepdim=True) + 1e-6)


def blend_scores(labels: Tensor, grid: tuple[int, int], alpha: float, max_parts: int) -> Tensor:
    """(B, N) part labels -> (B, N) scores: (1 − α)·random lattice + α·random part.

    The four lattices are the parities of row and column. Their values are the same for all images
    of the batch.
    """
    lattice = torch.rand(2, 2, device=labels.device)
    rows, columns = (torch.arange(side, device=labels.device) % 2 for side in grid)
    lattice = lattice[rows.unsqueeze(1), columns].flatten()
    part = torch.rand(len(labels), max_parts, device=labels.device).gather(1, labels)
    return (1 - alpha) * lattice + alpha * part


class EvolvedPartMask(EvolvedMask):
    """Hide parts of each image, starting from a regular lattice, with fewer and larger parts later.

    Feng and Zhang, *Evolved Part Masking for Self-Supervised Learning*, CVPR 2023, according to the
    released code; it is not known whether the paper's text differs from it. Patches with equal
    scores (same lattice, same part) are hidden from the end of the raster; in the released code
    their order depends on the sort.

    The evidence is attention **summed** over all layers and heads.

    Args:
        ratio: fraction of the patches to hide, in (0, 1).
        num_epochs: epochs of the schedule, 300 in the released code. The training is mapped onto
            them, whatever its own length.
        exponent: exponent of the blend α = ((epoch + 1) / num_epochs)^exponent.
        start_parts: number of parts in the first epoch.
        final_parts: number of parts that the schedule approaches.

    Attributes:
        extra_parts: the number of parts of a batch is sampled from k..k + this.
        concentration, num_rounds: see :func:`partition`.
    """

    extra_parts = 2
    concentration = 40.0
    num_rounds = 15

    def __init__(
        self,
        ratio: float = 0.75,
        num_epochs: int = 300,
        exponent: float = 0.5,
        start_parts: int = 40,
        final_parts: int = 10,
    ) -> None:
        super().__init__(ratio)
        if num_epochs < 1 or not 1 <= final_parts <= start_parts:
            raise ValueError(
                f'num_epochs={num_epochs} must be positive and final_parts={final_parts} must lie '
                f'in 1..start_parts={start_parts}.'
            )
        self.num_epochs = num_epochs
        self.exponent = exponent
        self.start_parts = start_parts
        self.final_parts = final_parts

    @property
    def epoch(self) -> float:
        """Epoch of the schedule, 0..num_epochs − 1; rounded because progress is a quotient."""
        return round(self.progress * (self.num_epochs - 1), 6)

    @property
    def alpha(self) -> float:
        """Weight of the parts relative to the lattice, ((e + 1)/E)^exponent."""
        return ((self.epoch + 1) / self.num_epochs) ** self.exponent

    @property
    def part_range(self) -> tuple[int, int]:
        """Smallest and largest number of parts: ⌊k⌋ and ⌊k⌋ + 2 with k = 30·(E − e)/E + 10."""
        remaining = (self.num_epochs - self.epoch) / self.num_epochs
        smallest = (self.start_parts - self.final_parts) * remaining + self.final_parts
        smallest = int(round(smallest, 6))
        return smallest, smallest + self.extra_parts

    def divide(self, num_images, grid, device='cpu', evidence=None) -> Tensor:
        """B, (h, w), (B, N, N) attention -> labels (B, N) of parts."""
        self.check_evidence(evidence, num_images, grid[0] * grid[1])
        smallest, largest = self.part_range
        num_parts = torch.randint(smallest, largest + 1, (1,), device=evidence.device)
        return partition(evidence, num_parts, largest, self.concentration, self.num_rounds)

    def draw(self, labels: Tensor, grid: tuple[int, int]) -> Mask:
        """(B, N) parts -> Mask that hides the highest :func:`blend_scores`."""
        scores = blend_scores(labels, grid, self.alpha, max_parts=self.part_range[1])
        return mask_from_scores(scores, num_visible(labels.shape[1], self.ratio), grid)
