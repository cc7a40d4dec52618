"""Head that predicts the positions of patches."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmask.layers import initialize_transformer
from mmmask.losses import position_cross_entropy, position_squared_error
from mmmask.masking import Mask, gather_tokens
from mmmask.registry import MODELS

LOSSES = ('mse_onehot', 'ce')
INPUTS = ('keep', 'drop_subset', 'drop_all')


@MODELS.register_module()
class PositionHead(BaseModule):
    """Token position prediction: two linear layers predict the position of each visible patch.

    If the position embedding is part of the input (``'keep'``), positions can be predicted without
    the content: even a frozen random encoder reveals much of them. The other inputs require
    content.

    Args:
        in_channels: D, the width of the encoder's tokens; filled in by the algorithm.
        num_positions: N, the number of patches of the grid; filled in by the algorithm.
        loss: ``'mse_onehot'``, or ``'ce'``, which suits dropped embeddings.
        input_pe: ``'keep'``; ``'drop_subset'`` replaces the position embeddings of 75 % of the
            visible patches by one learned vector and predicts the positions of these patches (as
            DropPos does); ``'drop_all'`` runs the encoder a second time without position embedding
            and predicts the positions of all visible patches.
        smoothing: σ of :func:`mmmask.losses.position_cross_entropy` at the start of training. It
            decreases linearly to 0 with the progress that ``set_progress`` receives.

    Raises:
        ValueError: for an unknown loss or input.
    """

    drop_ratio = 0.75

    def __init__(
        self,
        in_channels: int,
        num_positions: int,
        loss: str = 'mse_onehot',
        input_pe: str = 'keep',
        smoothing: float = 0.0,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg)
        if loss not in LOSSES:
            raise ValueError(f'loss={loss!r} is not one of {LOSSES}.')
        if input_pe not in INPUTS:
            raise ValueError(f'input_pe={input_pe!r} is not one of {INPUTS}.')
        self.num_positions = num_positions
        self.loss = loss
        self.input_pe = input_pe
        self.smoothing = self.sigma = smoothing
        self.needs_progress = smoothing > 0
        hidden = in_channels // 2
        self.layers = nn.Sequential(
            nn.Linear(in_channels, hidden), nn.Linear(hidden, num_positions)
        )
        if input_pe == 'drop_subset':
            self.dropped_position = nn.Parameter(torch.zeros(1, 1, in_channels))

    def init_weights(self) -> None:
        """Xavier linear layers; the vector that replaces embeddings is N(0, 0.02²)."""
        super().init_weights()
        initialize_transformer(self)
        if self.input_pe == 'drop_subset':
            nn.init.normal_(self.dropped_position, std=0.02)

    def set_progress(self, progress: float) -> None:
        """Decrease the smoothing; ``progress`` is the fraction of the training that is complete."""
        self.sigma = self.smoothing * (1 - progress)

    def encode(
        self, backbone: nn.Module, images: Tensor, mask: Mask
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> (B, 1+K, D) tokens, (B, n, D) tokens to place, (B, n) their places."""
        if self.input_pe == 'drop_subset':
            position, chosen = self.drop(backbone.position(backbone.grid(images)), mask)
            tokens = backbone(images, mask, position)[-1]
            return tokens, gather_tokens(tokens[:, 1:], chosen), mask.ids_keep.gather(1, chosen)
        tokens = asked = backbone(images, mask)[-1]
        if self.input_pe == 'drop_all':
            nowhere = torch.zeros_like(backbone.position(backbone.grid(images)))
            asked = backbone(images, mask, nowhere)[-1]
        return tokens, asked[:, 1:], mask.ids_keep

    def drop(self, position: Tensor, mask: Mask) -> tuple[Tensor, Tensor]:
        """(1, 1+N, D) table -> (B, 1+N, D) with replaced rows, (B, n) indices of their patches."""
        num_images, num_visible = mask.ids_keep.shape
        order = torch.rand(num_images, num_visible, device=position.device).argsort(dim=1)
        chosen = order[:, : max(1, int(num_visible * self.drop_ratio))]
        rows = 1 + mask.ids_keep.gather(1, chosen)
        rows = rows.unsqueeze(-1).expand(-1, -1, position.shape[-1])
        dropped = self.dropped_position.to(position.dtype).expand_as(rows)
        return position.expand(num_images, -1, -1).scatter(1, rows, dropped), chosen

    def check_grid(self, grid: tuple[int, int]) -> None:
        """Raise ValueError unless the (h, w) grid has the number of positions."""
        if grid[0] * grid[1] != self.num_positions:
            raise ValueError(
                f'num_positions={self.num_positions} of the position head does not fit the '
                f'{grid[0]}x{grid[1]} patches of these images: set model.backbone.img_size to '
                'their size.'
            )

    def forward(
        self, tokens: Tensor, places: Tensor, grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """(B, n, D) tokens and their (B, n) raster indices -> loss, accuracy.

        Raises:
            ValueError: if the (h, w) grid does not have the number of positions.
        """
        self.check_grid(grid)
        logits = self.layers(tokens)
        if self.loss == 'ce':
            loss = position_cross_entropy(logits, places, grid, self.sigma)
        else:
            loss = position_squared_error(logits, places)
        return loss, (logits.argmax(dim=-1) == places).float().mean()
