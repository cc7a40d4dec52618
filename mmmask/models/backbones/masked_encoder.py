"""What every encoder that accepts a mask reports to the other components."""

from torch import Tensor, nn

from mmmask.layers import patch_grid


class MaskedEncoder:
    """The channels and the grid of an encoder of mmpretrain.

    Attributes:
        patch_size: pixels along the side of a patch or mask unit.
        widths: channels of each block or stage.
        unit: what error messages call the patches.
    """

    unit = 'mask units'

    @property
    def in_channels(self) -> int:
        """C, the channels of the images."""
        return next(m for m in self.modules() if isinstance(m, nn.Conv2d)).in_channels

    @property
    def out_channels(self) -> int | tuple[int, ...]:
        """Width of the returned feature map, or a tuple with one width for each of several."""
        widths = tuple(self.widths[index] for index in sorted(self.out_indices))
        return widths if len(widths) > 1 else widths[0]

    def grid(self, images: Tensor) -> tuple[int, int]:
        """(B, C, H, W) -> (h, w), the grid of patches or mask units of these images.

        Raises:
            ValueError: if the patch or unit does not divide the image.
        """
        return patch_grid(images, self.patch_size, self.unit)
