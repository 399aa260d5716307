"""The U-Net as first published, with valid convolutions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn as nn
from monai.networks.layers.factories import Conv

from pu_unet_monai.errors import UserError
from pu_unet_monai.networks.blocks.network_input import check_input, mirror
from pu_unet_monai.networks.blocks.network_options import check_network_options
from pu_unet_monai.networks.blocks.valid_convolutions import (
    CroppingUNet,
    check_valid_size,
    output_margin,
    tile_margin,
)

__all__ = ["OriginalUNet"]


class OriginalUNet(CroppingUNet):
    """U-Net of Ronneberger, Fischer and Brox (2015), section 2 and figure 1.

    Two valid convolutions of size 3 with bias and ReLU at each resolution, without normalisation; max pooling on the
    way down; up-convolutions of size 2 that halve the channels and the middle of the skip connection beside them on
    the way up; a convolution of size 1 at the end. With the defaults it has 31,030,658 parameters and makes 388 x 388
    of 572 x 572. Weights start normally distributed with deviation ``sqrt(2 / N)``, N the inputs of one output
    (section 3); biases, of which the paper does not speak, at 0. Dropout "at the end of the contracting path"
    (section 3.1) is at the two lowest resolutions with rate .5, as in the authors' published Caffe network; the
    ReLUs that this one, unlike the paper, has after its up-convolutions are left out.

    To run it on images of any size, either give it to an inferer,
    ``OverlapTileInferer(roi_size=572, margin=network.margin)``, or make it with ``same_size=True``. Cores of 388 are
    the paper's, but no multiple of the 16 by which the poolings step, so that there every tile pools other pixels
    together than its neighbours: ``margin=network.tile_margin``, with cores of 384, gives what one pass over the whole
    mirrored image gives, that is what the network with ``same_size=True`` gives.

    Args:
        spatial_dims: number of spatial dimensions, 2 or 3. Defaults to 2.
        in_channels: number of input channels. Defaults to 1.
        out_channels: number of output channels (logits). Defaults to 2.
        channels: width at each resolution, from full to lowest. Defaults to (64, 128, 256, 512, 1024).
        same_size: whether to mirror the image at its edges, and return logits of its size. Defaults to False.
        dropout: rate of dropout at the two lowest resolutions. Defaults to 0.5.

    Attributes:
        margin: pixels that the output without ``same_size`` lacks on each side, whatever the size: 92.
        tile_margin: the same for tiles without seams: 94.
        stride: total stride of the poolings: 16.

    Shape:
        Input (B, in_channels, *spatial). With ``p = len(channels) - 1`` poolings each size plus 4 must be a multiple
        of ``2 ** p`` (188, 204, ..., 572, ...), and the output is (B, out_channels, *spatial less twice the margin),
        logits. With ``same_size=True`` the input may have any size, and the output has the same.

    Raises:
        UserError: if an option is not one of those listed, or an input does not have the dimensions, channels or
            size that the network takes.

    Example:
        >>> network = OriginalUNet()
        >>> network(torch.rand(1, 1, 188, 204)).shape
        torch.Size([1, 2, 4, 20])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
        same_size: bool = False,
        dropout: float = 0.5,
    ) -> None:
        check_network_options(spatial_dims, channels)
        if not 0 <= dropout < 1:
            raise UserError(f"dropout must be 0 or more and less than 1, got {dropout}.")
        conv = Conv[Conv.CONV, spatial_dims]
        up = Conv[Conv.CONVTRANS, spatial_dims]

        def block(in_channels: int, out_channels: int, rate: float = 0.0) -> nn.Sequential:
            layers = [conv(in_channels, out_channels, kernel_size=3), nn.ReLU()]
            layers += [conv(out_channels, out_channels, kernel_size=3), nn.ReLU()]
            return nn.Sequential(*layers, *([nn.Dropout(rate)] if rate else []))

        rates = [0.0] * (len(channels) - 2) + [dropout]
        coarse_to_fine = list(itertools.pairwise(reversed(channels)))
        super().__init__(
            spatial_dims,
            encoders=nn.ModuleList(map(block, (in_channels, *channels[:-2]), channels[:-1], rates)),
            bottleneck=block(channels[-2], channels[-1], dropout),
            ups=nn.ModuleList(up(coarse, fine, kernel_size=2, stride=2) for coarse, fine in coarse_to_fine),
            decoders=nn.ModuleList(block(2 * fine, fine) for _, fine in coarse_to_fine),
            head=conv(channels[0], out_channels, kernel_size=1),
        )
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.same_size = same_size
        self.stride = 2 ** (len(channels) - 1)
        self.margin = output_margin(self.stride)
        self.tile_margin = tile_margin(self.stride)
        self.apply(_initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of ``x``."""
        check_input(x, self.in_channels, self.spatial_dims)
        if self.same_size:
            return self._run_mirrored(x)
        check_valid_size(x, self.stride)
        return self.run_layers(x)

    def _run_mirrored(self, x: torch.Tensor) -> torch.Tensor:
        """Run on the mirrored image, padded before by the tiles' margin and behind to the next size that fits."""
        size = list(x.shape[2:])
        for i, s in enumerate(size):
            padded = self.stride * ((s + self.tile_margin + self.margin + 4 + self.stride - 1) // self.stride) - 4
            x = mirror(x, 2 + i, self.tile_margin, padded - self.tile_margin - s)
        y = self.run_layers(x)
        for i, s in enumerate(size):
            y = y.narrow(2 + i, self.tile_margin - self.margin, s)
        return y


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    """Draw weights with deviation sqrt(2 / N), N the number of inputs that an output is the sum over."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        # an up-convolution's kernel is as large as its step: each output sees one pixel
        transposed = isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d)
        inputs = module.in_channels * (1 if transposed else math.prod(module.kernel_size))
        nn.init.normal_(module.weight, std=math.sqrt(2 / inputs))
        nn.init.zeros_(module.bias)  # type: ignore[arg-type] # every layer here has one
