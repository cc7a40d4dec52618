"""A head that tells where patches lie."""

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
    """Token position prediction: two linear layers name the place of each visible patch.

    With the position embedding in the input (``'keep'``) the place can be read without a look at
    the content: even a frozen random encoder gives much of it away. The other inputs ask for
    content.

    Args:
        in_channels: D, the width of the encoder's tokens; the algorithm fills it in.
        num_positions: N, the patches of the grid; the algorithm fills it in.
        loss: ``'mse_onehot'``, or ``'ce'``, which goes with dropped embeddings.
        input_pe: ``'keep'``; ``'drop_subset'`` puts one learned vector in place of the position
            embedding of some visible patches and asks for those (as DropPos); ``'drop_all'`` runs
            the encoder once more without position embedding and asks for all visible patches.
        drop_ratio: share of the visible patches whose embedding ``'drop_subset'`` replaces.
        smoothing: σ of :func:`mmmask.losses.position_cross_entropy` at the start of the training,
            from where it falls linearly to 0 as ``set_progress`` is told.

    Raises:
        ValueError: for an unknown loss or input, or a ratio outside (0, 1].
    """

    def __init__(
        self,
        in_channels: int,
        num_positions: int,
        loss: str = 'mse_onehot',
        input_pe: str = 'keep',
        drop_ratio: float = 0.75,
        smoothing: float = 0.0,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg)
        if loss not in LOSSES:
            raise ValueError(f'loss={loss!r} is not one of {LOSSES}.')
        if input_pe not in INPUTS:
            raise ValueError(f'input_pe={input_pe!r} is not one of {INPUTS}.')
        if not 0 < drop_ratio <= 1:
            raise ValueError(
                f"drop_ratio={drop_ratio} must lie in (0, 1]; input_pe='keep' drops nothing."
            )
        self.num_positions = num_positions
        self.loss = loss
        self.input_pe = input_pe
        self.drop_ratio = drop_ratio
        self.smoothing = self.sigma = smoothing
        self.needs_progress = smoothing > 0
        hidden = in_channels // 2
        self.layers = nn.Sequential(
            nn.Linear(in_channels, hidden), nn.Linear(hidden, num_positions)
        )
        if input_pe == 'drop_subset':
            self.dropped_position = nn.Parameter(torch.zeros(1, 1, in_channels))

    def init_weights(self) -> None:
        """Xavier linear layers, the vector in place of dropped embeddings N(0, 0.02²)."""
        super().init_weights()
        initialize_transformer(self)
        if self.input_pe == 'drop_subset':
            nn.init.normal_(self.dropped_position, std=0.02)

    def set_progress(self, progress: float) -> None:
        """Let the smoothing fall; ``progress`` is the share of the training that is over."""
        self.sigma = self.smoothing * (1 - progress)

    def encode(
        self, backbone: nn.Module, images: Tensor, mask: Mask
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> (B, 1+K, D) tokens; of them or others n to place; their (B, n) places."""
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
        """(1, 1+N, D) table -> (B, 1+N, D) with rows replaced; (B, n) which visible patches'."""
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
