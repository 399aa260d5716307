"""PU-UNet, its matched Residual U-Net baseline, and the placements between them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn as nn
from monai.networks.layers.factories import Conv, Pool
from monai.networks.layers.utils import get_act_layer
from torch.utils.checkpoint import checkpoint

from pu_unet_monai.errors import UserError
from pu_unet_monai.networks.blocks import ResidualBlock
from pu_unet_monai.networks.blocks.group_norm import get_norm_layer
from pu_unet_monai.networks.blocks.network_input import check_input, crop_to, pad_to_multiple
from pu_unet_monai.networks.blocks.network_options import check_network_options

__all__ = ["PUUNet"]

PLACEMENTS = ("none", "bottleneck", "low_resolution", "all")


class PUUNet(nn.Module):
    """Product-Unit U-Net of Li et al., "PU-UNet" (2026), section 3.3.

    A residual U-Net: stem, encoders that each halve the size, a bottleneck at the lowest resolution, and decoders
    of two residual blocks each; the second convolution of selected residual blocks is a stable product unit.
    With the defaults the network has 14,392,613 parameters, the baseline (``placement="none"``) 14,391,201.
    That it is the *second* block of a decoder that holds the product unit is our reading: the published counts
    fit the first equally.

    Args:
        spatial_dims: number of spatial dimensions, 2 or 3. Defaults to 2.
        in_channels: number of input channels. Defaults to 3.
        out_channels: number of output channels (logits). Defaults to 1.
        channels: width at each resolution, from full to lowest. Defaults to (32, 64, 128, 256, 512).
        placement: which residual blocks hold a product unit: ``"none"`` (the Residual U-Net baseline),
            ``"bottleneck"``, ``"low_resolution"`` (the last encoder, the bottleneck and the first two decoders) or
            ``"all"``. Defaults to ``"low_resolution"``.
        positivity: positivity map, see :class:`~pu_unet_monai.networks.blocks.ProductUnit`.
            Defaults to ``"softplus"``.
        log_clip: clipping threshold in log space, None for no clipping. Defaults to 10.
        act: activation, as MONAI's factories take it. Defaults to SiLU.
        norm: normalisation, as MONAI's factories take it. Defaults to GroupNorm with 8 groups.
        use_checkpoint: whether to recompute the stem and each residual block in the backward pass instead of keeping
            their activations: about half the memory, a third more time. Defaults to False.

    Shape:
        Input (B, in_channels, *spatial) of any spatial size: it is padded by replication to the next multiple of
        ``2 ** (len(channels) - 1)`` and the output cropped back. Output (B, out_channels, *spatial), logits.

    Raises:
        UserError: if an option is not one of those listed, the norm's groups do not divide a width, or an input
            does not have the dimensions or channels that the network takes.

    Example:
        >>> network = PUUNet(spatial_dims=2, in_channels=3, out_channels=1)
        >>> network(torch.rand(1, 3, 100, 75)).shape
        torch.Size([1, 1, 100, 75])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        placement: str = "low_resolution",
        positivity: str = "softplus",
        log_clip: float | None = 10.0,
        act: str | tuple = "SILU",
        norm: str | tuple = ("GROUP", {"num_groups": 8}),
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        _check_options(spatial_dims, channels, placement, norm)
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.use_checkpoint = use_checkpoint
        self.size_multiple = 2 ** (len(channels) - 1)

        conv = Conv[Conv.CONV, spatial_dims]
        up = Conv[Conv.CONVTRANS, spatial_dims]
        everywhere = placement == "all"
        low_resolution = placement in ("low_resolution", "all")

        def block(in_channels: int, out_channels: int, product_unit: bool) -> ResidualBlock:
            return ResidualBlock(
                spatial_dims, in_channels, out_channels, product_unit, positivity, log_clip, act, norm, use_checkpoint
            )

        self.stem = nn.Sequential(
            conv(in_channels, channels[0], kernel_size=3, padding=1, bias=False),
            get_norm_layer(norm, spatial_dims, channels[0]),
            get_act_layer(act),
        )
        self.pool = Pool[Pool.MAX, spatial_dims](kernel_size=2)
        last = len(channels) - 2
        self.encoders = nn.ModuleList(
            block(fine, coarse, product_unit=everywhere or (low_resolution and level == last))
            for level, (fine, coarse) in enumerate(itertools.pairwise(channels))
        )
        self.bottleneck = block(channels[-1], channels[-1], product_unit=placement != "none")
        self.ups = nn.ModuleList()
        self.decoders = nn.ModuleList()
        for level, (coarse, fine) in enumerate(zip(channels[:0:-1], channels[-2::-1], strict=True)):
            self.ups.append(up(coarse, fine, kernel_size=2, stride=2))
            self.decoders.append(
                nn.Sequential(
                    block(2 * fine, fine, product_unit=everywhere),
                    block(fine, fine, product_unit=everywhere or (low_resolution and level < 2)),
                )
            )
        self.head = conv(channels[0], out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of ``x``."""
        check_input(x, self.in_channels, self.spatial_dims)
        x, size = pad_to_multiple(x, self.size_multiple)
        x = self._run_stem(x)
        skips = [x]
        for encoder in self.encoders:
            x = encoder(self.pool(x))
            skips.append(x)
        x = self.bottleneck(skips.pop())
        for up, decoder in zip(self.ups, self.decoders):  # noqa: B905 - TorchScript's zip takes no `strict`
            x = torch.cat([skips.pop(), up(x)], dim=1)
            # one by one, so that inference frees the concatenation after the first
            for block in decoder:  # type: ignore[attr-defined]
                x = block(x)
        return crop_to(self.head(x), size)

    def _run_stem(self, x: torch.Tensor) -> torch.Tensor:
        if not torch.jit.is_scripting() and self.use_checkpoint and torch.is_grad_enabled():
            return checkpoint(self.stem, x, use_reentrant=False)
        return self.stem(x)


def _check_options(spatial_dims: int, channels: Sequence[int], placement: str, norm: str | tuple) -> None:
    check_network_options(spatial_dims, channels, norm)
    if placement not in PLACEMENTS:
        raise UserError(f"placement must be one of {', '.join(PLACEMENTS)}, got {placement!r}.")
