"""The additive attention gate on a skip connection."""

from __future__ import annotations

import torch
import torch.nn as nn
from monai.networks.layers.factories import Conv

from pu_unet_monai.networks.blocks.group_norm import get_norm_layer

__all__ = ["AttentionGate"]


class AttentionGate(nn.Module):
    r"""Additive attention gate of Oktay et al., "Attention U-Net" (2018), section 2, equations 1 and 2.

    .. math::
        \alpha = \sigma\big(\psi * \mathrm{relu}(n(w_g * g) + n(w_x * x)) + b\big), \qquad \hat x = \alpha x

    with convolutions of size 1, and one coefficient per pixel for all channels. In the paper :math:`g` comes from
    the next coarser resolution and the coefficients are upsampled; here :math:`g` is the upsampled signal itself, as
    in most implementations for R2U-Net, so nothing is resampled in the gate.

    MONAI's ``monai.networks.nets.attentionunet.AttentionBlock`` computes the same, but its batch normalisations are
    fixed, one of them on the single channel before the sigmoid: it cannot follow the ``norm`` of the network around
    it. Here nothing is normalised there, as in the paper, since GroupNorm or InstanceNorm of that one channel would
    leave every image half of its pixels.

    Args:
        spatial_dims: number of spatial dimensions, 1, 2 or 3.
        gate_channels: number of channels of the gating signal.
        skip_channels: number of channels of the skip connection.
        hidden_channels: number of channels in which both are added.
        norm: normalisation, as MONAI's factories take it. Defaults to GroupNorm with 8 groups.

    Shape:
        Gating signal (B, gate_channels, *spatial), skip (B, skip_channels, *spatial), output as the skip.
    """

    def __init__(
        self,
        spatial_dims: int,
        gate_channels: int,
        skip_channels: int,
        hidden_channels: int,
        norm: str | tuple = ("GROUP", {"num_groups": 8}),
    ) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, spatial_dims]
        self.gate_conv = conv(gate_channels, hidden_channels, kernel_size=1, bias=False)
        self.gate_norm = get_norm_layer(norm, spatial_dims, hidden_channels)
        self.skip_conv = conv(skip_channels, hidden_channels, kernel_size=1, bias=False)
        self.skip_norm = get_norm_layer(norm, spatial_dims, hidden_channels)
        self.psi = conv(hidden_channels, 1, kernel_size=1)

    def forward(self, g: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the skip ``x`` times its attention coefficients under the gating signal ``g``."""
        hidden = torch.relu(self.gate_norm(self.gate_conv(g)) + self.skip_norm(self.skip_conv(x)))
        return x * torch.sigmoid(self.psi(hidden))
