"""SegNet: a decoder that upsamples by the positions of the encoder's maxima."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.layers.factories import Conv, Pool
from monai.networks.layers.utils import get_act_layer, get_norm_layer

from pu_unet_monai.networks.blocks.network_input import check_input, crop_to, pad_to_multiple
from pu_unet_monai.networks.blocks.network_options import check_network_options

__all__ = ["SegNet"]


class SegNet(nn.Module):
    """SegNet of Badrinarayanan, Kendall and Cipolla (2017), section 3 and figure 2.

    The encoder is the 13 convolutions of VGG-16, two at each of the first two resolutions and three at each of the
    others, each with norm and activation; max pooling after each resolution keeps where its maxima were. The decoder
    mirrors it: each value goes back to the position of its maximum, the rest is zero, and as many convolutions make it
    dense again, the last of which brings the width of the resolution above. Nothing else passes from encoder to
    decoder. The very last convolution gives the logits, without norm or activation.

    Convolutions before a norm have no bias. With the defaults the network has 29,435,649 parameters. The paper starts
    the encoder from VGG-16's ImageNet weights; here it starts as PyTorch initialises it. In 3D, of which the paper
    does not speak, every layer is its 3D counterpart.

    Args:
        spatial_dims: number of spatial dimensions, 2 or 3. Defaults to 2.
        in_channels: number of input channels. Defaults to 3.
        out_channels: number of output channels (logits). Defaults to 1.
        channels: width at each resolution, from full to lowest; each ends in a pooling. Defaults to (64, 128, 256,
            512, 512).
        act: activation, as MONAI's factories take it. Defaults to ReLU.
        norm: normalisation, as MONAI's factories take it. Defaults to batch normalisation.

    Shape:
        Input (B, in_channels, *spatial) of any spatial size: it is padded by replication to the next multiple of
        ``2 ** len(channels)`` and the output cropped back. Output (B, out_channels, *spatial), logits.

    Raises:
        UserError: if an option is not one of those listed, the norm's groups do not divide a width, or an input does
            not have the dimensions or channels that the network takes.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        act: str | tuple = "RELU",
        norm: str | tuple = "BATCH",
    ) -> None:
        super().__init__()
        check_network_options(spatial_dims, channels, norm)
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.size_multiple = 2 ** len(channels)

        conv = Conv[Conv.CONV, spatial_dims]

        def block(widths: Sequence[int]) -> list[nn.Module]:
            layers: list[nn.Module] = []
            for before, after in itertools.pairwise(widths):
                layers += [
                    conv(before, after, kernel_size=3, padding=1, bias=False),
                    get_norm_layer(norm, spatial_dims, after),
                    get_act_layer(act),
                ]
            return layers

        convs = [2 if level < 2 else 3 for level in range(len(channels))]
        finer = (in_channels, *channels[:-1])
        self.encoders = nn.ModuleList(
            nn.Sequential(*block([before] + [width] * number))
            for before, width, number in zip(finer, channels, convs, strict=True)
        )
        self.pool = Pool[Pool.MAX, spatial_dims](kernel_size=2, return_indices=True)
        # the finest decoder's last convolution is the head
        first = nn.Sequential(*block([channels[0]] * convs[0]), conv(channels[0], out_channels, 3, padding=1))
        coarser = [
            nn.Sequential(*block([width] * number + [after]))
            for after, width, number in zip(finer[1:], channels[1:], convs[1:], strict=True)
        ]
        self.decoders = nn.ModuleList([first, *coarser][::-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of ``x``."""
        check_input(x, self.in_channels, self.spatial_dims)
        x, size = pad_to_multiple(x, self.size_multiple)
        positions: list[torch.Tensor] = []
        for encoder in self.encoders:
            x, maxima = self.pool(encoder(x))
            positions.append(maxima)
        for decoder in self.decoders:
            x = decoder(self._unpool(x, positions.pop()))
        return crop_to(x, size)

    def _unpool(self, x: torch.Tensor, maxima: torch.Tensor) -> torch.Tensor:
        if self.spatial_dims == 2:
            return F.max_unpool2d(x, maxima, [2, 2])
        return F.max_unpool3d(x, maxima, [2, 2, 2])
