"""What a U-Net of valid convolutions does to the size of its input, and which sizes it can take.

With two convolutions of size 3 at each resolution, and poolings of 2 that make a total ``stride`` (16 for four of
them), a size ``s`` fits if every pooling meets an even size, that is if ``s + 4`` is a multiple of the stride; the
output lacks ``6 * stride - 4`` pixels on each side.
"""

from __future__ import annotations

import torch
import torch.nn as nn
from monai.networks.layers.factories import Pool

from pu_unet_monai.errors import UserError

__all__ = ["CroppingUNet", "center_crop", "check_valid_size", "output_margin", "tile_margin"]


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


class CroppingUNet(nn.Module):
    """The path of a U-Net through its layers, with the middle of every skip connection.

    Args:
        spatial_dims: number of spatial dimensions, 2 or 3.
        encoders: blocks on the way down, from full resolution, with a max pooling after each.
        bottleneck: block at the lowest resolution.
        ups: what doubles the size on the way up, from the lowest resolution.
        decoders: blocks on the way up, which take the skip connection and then what was doubled.
        head: the last layer.
    """

    def __init__(
        self,
        spatial_dims: int,
        encoders: nn.ModuleList,
        bottleneck: nn.Module,
        ups: nn.ModuleList,
        decoders: nn.ModuleList,
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.encoders = encoders
        self.pool = Pool[Pool.MAX, spatial_dims](kernel_size=2)
        self.bottleneck = bottleneck
        self.ups = ups
        self.decoders = decoders
        self.head = head

    def run_layers(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of ``x``, whose size fits the layers."""
        skips: list[torch.Tensor] = []
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        for up, decoder in zip(self.ups, self.decoders):  # noqa: B905 - TorchScript's zip takes no `strict`
            x = up(x)
            x = decoder(torch.cat([center_crop(skips.pop(), x), x], dim=1))
        return self.head(x)
