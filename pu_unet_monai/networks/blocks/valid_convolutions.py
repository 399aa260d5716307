"""What a U-Net of valid convolutions does to the size of its input, and which sizes it can take.

With two convolutions of size 3 at each resolution, and poolings of 2 that make a total ``stride`` (16 for four of
them), a size ``s`` fits if every pooling meets an even size, that is if ``s + 4`` is a multiple of the stride; the
output lacks ``6 * stride - 4`` pixels on each side.
"""

from __future__ import annotations

import torch

from pu_unet_monai.errors import UserError

__all__ = ["center_crop", "check_valid_size", "output_margin", "tile_margin"]


def output_margin(stride: int) -> int:
    """Return what the output lacks on each side of the input: 92 for the stride of 16 of the U-Net."""
    return 6 * stride - 4


def tile_margin(stride: int) -> int:
    """Return the margin of tiles without seams: 94 for the stride of 16 of the U-Net.

    Poolings do the same at multiples of their stride alone, so tiles must lie at such multiples; an output is 4 more
    than a multiple of the stride, and where that is none itself, 2 pixels on each side are too many.
    """
    return output_margin(stride) + 4 % stride // 2


def check_valid_size(x: torch.Tensor, stride: int) -> None:
    """Refuse a spatial size that does not fit.

    Raises:
        UserError: naming the size, and the nearest that fit.
    """
    smallest = stride * ((2 * output_margin(stride) + 4) // stride + 1) - 4
    for s in x.shape[2:]:
        below = stride * ((s + 4) // stride) - 4
        if s != below or s < smallest:
            nearest = f"{smallest}, the smallest" if s < smallest else f"{below} and {below + stride}"
            raise UserError(
                f"an input of spatial size {list(x.shape[2:])} does not fit convolutions without padding: each size "
                f"plus 4 must be a multiple of {stride}, and of {s} the nearest that fits is {nearest}."
            )


def center_crop(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return the middle of ``x`` that has the spatial size of ``like``."""
    for axis in range(2, x.dim()):
        x = x.narrow(axis, (x.shape[axis] - like.shape[axis]) // 2, like.shape[axis])
    return x
