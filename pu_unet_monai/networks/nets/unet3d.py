"""The 3D U-Net as first published, with valid or with padded convolutions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn as nn
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer, get_norm_layer

from pu_unet_monai.errors import UserError
from pu_unet_monai.networks.blocks.network_input import check_input, crop_to, pad_to_multiple
from pu_unet_monai.networks.blocks.network_options import check_network_options
from pu_unet_monai.networks.blocks.valid_convolutions import (
    CroppingUNet,
    check_valid_size,
    output_margin,
    tile_margin,
)

__all__ = ["UNet3D"]


class UNet3D(CroppingUNet):
    """3D U-Net of Cicek, Abdulkadir, Lienkamp, Brox and Ronneberger (2016), section 2 and figure 2.

    Two convolutions of size 3 with bias, each with norm and activation, at each resolution, the second of which
    doubles the channels on the way down, so before the max pooling and not after it; up-convolutions of size 2 that
    keep their channels, a concatenation, and two convolutions on the way up; a convolution of size 1 at the end. With
    the defaults it has the paper's 19,069,955 parameters, and 4,672 more in its batch normalisations. That the paper
    does not count these, and that up-convolutions have no bias (896 more), is our reading of its number.

    The paper's convolutions are valid: ``valid=True`` makes 44 x 44 x 28 of 132 x 132 x 116. To run such a network on
    images of any size, give it to an inferer, ``OverlapTileInferer(roi_size, margin=network.tile_margin)``.

    Args:
        spatial_dims: number of spatial dimensions, 2 or 3. Defaults to 3.
        in_channels: number of input channels. Defaults to 3.
        out_channels: number of output channels (logits). Defaults to 3.
        channels: width of the first convolution, then that at each resolution, from full to lowest. Defaults to
            (32, 64, 128, 256, 512).
        valid: whether convolutions are valid, and not padded. Defaults to False.
        norm: normalisation, as MONAI's factories take it. Defaults to batch normalisation.
        act: activation, as MONAI's factories take it. Defaults to ReLU.

    Attributes:
        margin: pixels that the output of valid convolutions lacks on each side: 44.
        tile_margin: the same for tiles without seams: 46.
        stride: total stride of the poolings: 8.

    Shape:
        Input (B, in_channels, *spatial) of any spatial size: it is padded by replication to the next multiple of
        ``stride`` and the output cropped back. Output (B, out_channels, *spatial), logits. With ``valid=True`` each
        size plus 4 must be a multiple of ``stride``, 92 at least, and the output has twice the margin less.

    Raises:
        UserError: if an option is not one of those listed, the norm's groups do not divide a width, or an input does
            not have the dimensions, channels or size that the network takes.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 3,
        out_channels: int = 3,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        valid: bool = False,
        norm: str | tuple = "BATCH",
        act: str | tuple = "RELU",
    ) -> None:
        check_network_options(spatial_dims, channels, norm)
        if len(channels) < 3:
            raise UserError(
                f"channels must give the width of the first convolution and of at least 2 resolutions, got "
                f"{list(channels)}."
            )
        conv = Conv[Conv.CONV, spatial_dims]
        up = Conv[Conv.CONVTRANS, spatial_dims]

        def block(*widths: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for before, after in itertools.pairwise(widths):
                layers += [
                    conv(before, after, kernel_size=3, padding=0 if valid else 1),
                    get_norm_layer(norm, spatial_dims, after),
                    get_act_layer(act),
                ]
            return nn.Sequential(*layers)

        first, *widths = channels
        coarse_to_fine = list(itertools.pairwise(reversed(widths)))
        super().__init__(
            spatial_dims,
            encoders=nn.ModuleList(
                [
                    block(in_channels, first, widths[0]),
                    *(block(fine, fine, coarse) for fine, coarse in itertools.pairwise(widths[:-1])),
                ]
            ),
            bottleneck=block(widths[-2], widths[-2], widths[-1]),
            ups=nn.ModuleList(up(coarse, coarse, kernel_size=2, stride=2, bias=False) for coarse, _ in coarse_to_fine),
            decoders=nn.ModuleList(block(fine + coarse, fine, fine) for coarse, fine in coarse_to_fine),
            head=conv(widths[0], out_channels, kernel_size=1),
        )
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.valid = valid
        self.stride = 2 ** (len(channels) - 2)
        self.margin = output_margin(self.stride)
        self.tile_margin = tile_margin(self.stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of ``x``."""
        check_input(x, self.in_channels, self.spatial_dims)
        if self.valid:
            check_valid_size(x, self.stride)
            return self.run_layers(x)
        x, size = pad_to_multiple(x, self.stride)
        return crop_to(self.run_layers(x), size)
