"""Images as sequences of patches and back."""

from torch import Tensor


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """(B, C, H, W) -> (B, N, p·p·C), patches in raster order, vectors (row, column, channel).

    Raises:
        ValueError: if the patch size does not divide the image.
    """
    num_images, channels, height, width = images.shape
    if height % patch_size or width % patch_size:
        raise ValueError(
            f'images of {height}x{width} px cannot be cut into patches of {patch_size} px: '
            'both sides must be multiples of the patch size.'
        )
    rows, columns = height // patch_size, width // patch_size
    patches = images.reshape(num_images, channels, rows, patch_size, columns, patch_size)
    return patches.permute(0, 2, 4, 3, 5, 1).reshape(num_images, rows * columns, -1)


def unpatchify(patches: Tensor, grid: tuple[int, int], patch_size: int) -> Tensor:
    """(B, N, p·p·C) -> (B, C, H, W), the inverse of :func:`patchify`."""
    num_images = patches.shape[0]
    images = patches.reshape(num_images, *grid, patch_size, patch_size, -1)
    return images.permute(0, 5, 1, 3, 2, 4).reshape(
        num_images, -1, grid[0] * patch_size, grid[1] * patch_size
    )
