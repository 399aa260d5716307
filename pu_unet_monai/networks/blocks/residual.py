"""The residual block of PU-UNet and of its baseline."""

from __future__ import annotations

import torch
import torch.nn as nn
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer
from torch.utils.checkpoint import checkpoint

from pu_unet_monai.networks.blocks.group_norm import get_norm_layer
from pu_unet_monai.networks.blocks.product_unit import ProductUnit

__all__ = ["ResidualBlock"]


class ResidualBlock(nn.Module):
    """Residual block of PU-UNet (Li et al. 2026, section 3.2, equations 9 and 10).

    Convolution, norm, activation, then a second convolution **or** a product unit, norm; the shortcut is added
    and activated. The shortcut is the identity, or a convolution of size 1 where the channels change.
    Convolutions have no bias; a product unit has one.

    Args:
        spatial_dims: number of spatial dimensions, 1, 2 or 3.
        in_channels: number of input channels.
        out_channels: number of output channels.
        product_unit: whether the second convolution is a product unit. Defaults to False.
        positivity: positivity map of the product unit, see :class:`ProductUnit`. Defaults to ``"softplus"``.
        log_clip: clipping threshold of the product unit, see :class:`ProductUnit`. Defaults to 10.
        act: activation, as MONAI's factories take it. Defaults to SiLU.
        norm: normalisation, as MONAI's factories take it. Defaults to GroupNorm with 8 groups.

        use_checkpoint: whether to recompute the block in the backward pass instead of keeping its activations.
            Defaults to False.

    Shape:
        Input (B, in_channels, *spatial). Output (B, out_channels, *spatial).
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        product_unit: bool = False,
        positivity: str = "softplus",
        log_clip: float | None = 10.0,
        act: str | tuple = "SILU",
        norm: str | tuple = ("GROUP", {"num_groups": 8}),
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.use_checkpoint = use_checkpoint
        conv = Conv[Conv.CONV, spatial_dims]
        self.conv1 = conv(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.norm1 = get_norm_layer(norm, spatial_dims, out_channels)
        self.act1 = get_act_layer(act)
        if product_unit:
            self.conv2 = ProductUnit(spatial_dims, out_channels, out_channels, positivity=positivity, log_clip=log_clip)
        else:
            self.conv2 = conv(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.norm2 = get_norm_layer(norm, spatial_dims, out_channels)
        self.shortcut = (
            nn.Identity() if in_channels == out_channels else conv(in_channels, out_channels, kernel_size=1, bias=False)
        )
        self.act2 = get_act_layer(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output."""
        if not torch.jit.is_scripting() and self.use_checkpoint and torch.is_grad_enabled():
            return checkpoint(self._transform, x, use_reentrant=False)
        return self._transform(x)

    def _transform(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act1(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))  # under the same name, so that inference frees the first half before the sum
        return self.act2(y + self.shortcut(x))
