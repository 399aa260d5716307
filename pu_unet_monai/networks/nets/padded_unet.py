"""The plain U-Net with padded convolutions, as the brain report and the textbook chapter use it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn as nn
from monai.networks.layers.factories import Conv, Pool
from monai.networks.layers.utils import get_act_layer, get_norm_layer

from pu_unet_monai.errors import UserError
from pu_unet_monai.networks.blocks.network_input import check_input, crop_to, pad_to_multiple
from pu_unet_monai.networks.blocks.network_options import check_network_options

__all__ = ["PaddedUNet"]

UPSAMPLE = ("transposed", "bilinear")


class PaddedUNet(nn.Module):
    """U-Net with padded convolutions of Buda, Saha and Mazurowski (2019), as the brain report has it (section 2.2.2).

    Blocks of two convolutions of size 3, each with norm and activation; max pooling between them on the way down,
    upsampling by 2 and a concatenation on the way up; a convolution of size 1 at the end. The convolutions of size 3
    have no bias.

    - Buda's own network: ``in_channels=3, out_channels=1``, 7,763,041 parameters.
    - The report's, with one convolution at the lowest resolution: ``bottleneck_convs=1``, 5,403,108.
    - The textbook chapter's (its widths, channels and upsampling): ``in_channels=1, out_channels=2, channels=(64, 128,
      256, 512, 1024), upsample="bilinear"``, 31,383,746; with ``upsample="transposed"`` 31,036,546. That bilinear
      upsampling leaves all channels to the next convolution is our reading: the chapter's code is lost in our copy.

    Without a transposed convolution nothing halves the channels before the concatenation, so the first convolution of
    a decoder takes those of both resolutions and has more weights: bilinear upsampling itself has none.

    Args:
        spatial_dims: number of spatial dimensions, 2 or 3. Defaults to 2.
        in_channels: number of input channels. Defaults to 4.
        out_channels: number of output channels (logits). Defaults to 4.
        channels: width at each resolution, from full to lowest. Defaults to (32, 64, 128, 256, 512).
        bottleneck_convs: number of convolutions at the lowest resolution. Defaults to 2.
        norm: normalisation, as MONAI's factories take it. Defaults to batch normalisation.
        act: activation, as MONAI's factories take it. Defaults to ReLU.
        upsample: ``"transposed"``, convolutions of size 2 that bring the channels to the width, or ``"bilinear"``,
            without weights (trilinear in 3D), pixels taken as areas (``align_corners=False``). Defaults to
            ``"transposed"``.
        skips_off: which skip connections carry zeros, counted from 1 at full resolution: the chapter's ablation.
            Weights keep their shapes, so those of a trained network fit. Defaults to none.

    Shape:
        Input (B, in_channels, *spatial) of any spatial size: it is padded by replication to the next multiple of
        ``2 ** (len(channels) - 1)`` and the output cropped back. Output (B, out_channels, *spatial), logits.

    Raises:
        UserError: if an option is not one of those listed, or an input does not have the dimensions or channels that
            the network takes.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 4,
        out_channels: int = 4,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        bottleneck_convs: int = 2,
        norm: str | tuple = "BATCH",
        act: str | tuple = "RELU",
        upsample: str = "transposed",
        skips_off: Sequence[int] = (),
    ) -> None:
        super().__init__()
        _check_options(spatial_dims, channels, norm, bottleneck_convs, upsample, skips_off)
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.size_multiple = 2 ** (len(channels) - 1)
        self.skip_is_on = [level not in skips_off for level in range(1, len(channels))]

        conv = Conv[Conv.CONV, spatial_dims]

        def up(coarse: int, fine: int) -> nn.Module:
            if upsample == "transposed":
                return Conv[Conv.CONVTRANS, spatial_dims](coarse, fine, kernel_size=2, stride=2)
            return nn.Upsample(scale_factor=2, mode="bilinear" if spatial_dims == 2 else "trilinear")

        def block(in_channels: int, out_channels: int, convs: int = 2) -> nn.Sequential:
            layers: list[nn.Module] = []
            for number in range(convs):
                layers += [
                    conv(out_channels if number else in_channels, out_channels, kernel_size=3, padding=1, bias=False),
                    get_norm_layer(norm, spatial_dims, out_channels),
                    get_act_layer(act),
                ]
            return nn.Sequential(*layers)

        self.encoders = nn.ModuleList(itertools.starmap(block, itertools.pairwise((in_channels, *channels[:-1]))))
        self.pool = Pool[Pool.MAX, spatial_dims](kernel_size=2)
        self.bottleneck = block(channels[-2], channels[-1], bottleneck_convs)
        coarse_to_fine = list(itertools.pairwise(reversed(channels)))
        self.ups = nn.ModuleList(itertools.starmap(up, coarse_to_fine))
        self.decoders = nn.ModuleList(
            block(fine + (fine if upsample == "transposed" else coarse), fine) for coarse, fine in coarse_to_fine
        )
        self.head = conv(channels[0], out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of ``x``."""
        check_input(x, self.in_channels, self.spatial_dims)
        x, size = pad_to_multiple(x, self.size_multiple)
        skips: list[torch.Tensor] = []
        for level, encoder in enumerate(self.encoders):
            x = encoder(x)
            skips.append(x if self.skip_is_on[level] else torch.zeros_like(x))
            x = self.pool(x)
        x = self.bottleneck(x)
        for up, decoder in zip(self.ups, self.decoders):  # noqa: B905 - TorchScript's zip takes no `strict`
            x = decoder(torch.cat([skips.pop(), up(x)], dim=1))
        return crop_to(self.head(x), size)


def _check_options(
    spatial_dims: int,
    channels: Sequence[int],
    norm: str | tuple,
    bottleneck_convs: int,
    upsample: str,
    skips_off: Sequence[int],
) -> None:
    check_network_options(spatial_dims, channels, norm)
    if bottleneck_convs < 1:
        raise UserError(f"bottleneck_convs must be at least 1, got {bottleneck_convs}.")
    if upsample not in UPSAMPLE:
        raise UserError(f"upsample must be one of {', '.join(UPSAMPLE)}, got {upsample!r}.")
    if not set(skips_off) <= set(range(1, len(channels))):
        raise UserError(
            f"skips_off must be levels from 1 (full resolution) to {len(channels) - 1}, got {list(skips_off)}."
        )
