"""Conversion between images and sequences of patches."""

from torch import Tensor


def patch_grid(images: Tensor, patch_size: int, name: str = 'patches') -> tuple[int, int]:
    """(B, C, H, W) -> (h, w), the number of patches along each side.

    Args:
        images: (B, C, H, W).
        patch_size: side of a patch in pixels.
        name: what the error message calls the patches.

    Raises:
        ValueError: if the patch size does not divide the image.
    """
    height, width = images.shape[-2:]
    if height % patch_size or width % patch_size:
        raise ValueError(
            f'images of {height}x{width} px cannot be cut into {name} of {patch_size} px: change '
            'the crop size in the data pipeline, or patch_size.'
        )
    return height // patch_size, width // patch_size


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """(B, C, H, W) -> (B, N, p·p·C), patches in raster order, vectors (row, column, channel).

    Raises:
        ValueError: if the patch size does not divide the image.
    """
    rows, columns = patch_grid(images, patch_size)
    patches = images.reshape(*images.shape[:2], rows, patch_size, columns, patch_size)
    return patches.permute(0, 2, 4, 3, 5, 1).reshape(images.shape[0], rows * columns, -1)


def unpatchify(patches: Tensor, grid: tuple[int, int], patch_size: int) -> Tensor:
    """(B, N, p·p·C) -> (B, C, H, W), the inverse of :func:`patchify`."""
    num_images = patches.shape[0]
    images = patches.reshape(num_images, *grid, patch_size, patch_size, -1)
    return images.permute(0, 5, 1, 3, 2, 4).reshape(
        num_images, -1, grid[0] * patch_size, grid[1] * patch_size
    )
