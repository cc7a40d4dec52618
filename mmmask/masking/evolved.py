"""Base class of mask generators that follow what the model sees."""

import torch
from torch import Tensor

from .mask import Mask
from .random import RandomMask


class EvolvedMask(RandomMask):
    """Divides each image by evidence from the model, and hides patches that belong together.

    Attributes:
        evidence_kind: what the parser must read: ``'attention'``, (B, N, N) summed over layers and
            heads, row = query, without the class token; or ``'features'``, (B, N, D).
        progress: fraction of the training that is complete, set by :meth:`set_progress`.
    """

    needs_evidence = True
    evidence_kind = 'attention'

    def __init__(self, ratio: float = 0.75) -> None:
        super().__init__(ratio)
        self.progress = 0.0

    def set_progress(self, progress: float) -> None:
        """Set the fraction of the training that is complete.

        Raises:
            ValueError: if it is outside [0, 1].
        """
        if not 0 <= progress <= 1:
            raise ValueError(f'progress={progress} must lie in [0, 1].')
        self.progress = progress

    @torch.no_grad()
    def forward(self, num_images, grid, device='cpu', evidence=None) -> Mask:
        """B, (h, w), evidence (B, N, N) or (B, N, D) -> Mask of h·w patches.

        Raises:
            ValueError: if the evidence is missing or of the wrong shape.
        """
        return self.draw(self.divide(num_images, grid, device, evidence), grid)

    def divide(self, num_images, grid, device='cpu', evidence=None) -> Tensor:
        """As :meth:`forward`, but -> (B, N) labels of what belongs together, below 2N − 1."""
        raise NotImplementedError

    def draw(self, labels: Tensor, grid: tuple[int, int]) -> Mask:
        """(B, N) labels -> Mask."""
        raise NotImplementedError

    def check_evidence(self, evidence: Tensor | None, num_images: int, num_patches: int) -> None:
        """Raise ValueError unless the evidence is there and starts with (B, N)."""
        if evidence is None or evidence.shape[:2] != (num_images, num_patches):
            shape = None if evidence is None else tuple(evidence.shape)
            raise ValueError(
                f'{type(self).__name__} needs {self.evidence_kind} of ({num_images}, '
                f'{num_patches}, ...) as evidence but got {shape}: set model.parser, for example '
                "dict(type='mmmask.EncoderParser')."
            )
