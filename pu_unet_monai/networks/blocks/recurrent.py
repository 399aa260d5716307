"""The recurrent convolutional layer of RU-Net and R2U-Net, and the block of two of them."""

from __future__ import annotations

import torch
import torch.nn as nn
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer
from torch.utils.checkpoint import checkpoint

from pu_unet_monai.errors import UserError
from pu_unet_monai.networks.blocks.group_norm import get_norm_layer

__all__ = ["RecurrentBlock", "RecurrentConv"]


class RecurrentConv(nn.Module):
    r"""Recurrent convolutional layer of Alom et al., "R2U-Net" (2018), section III, equations 1 and 2.

    One forward application and ``t`` recurrent ones, with the same weights and the same norm at every step. With one
    kernel for both (the default)

    .. math:: h_0 = a(n(w * x)), \qquad h_k = a(n(w * (x + h_{k-1}))), \quad k = 1 \ldots t

    and with the two kernels of the equation (``separate_recurrent=True``), the first of which is applied once

    .. math:: h_0 = a(n(w^f * x)), \qquad h_k = a(n(w^f * x + w^r * h_{k-1})).

    The convolutions of size 3 have no bias: the norm ``n`` has one, the equation's :math:`b_k`. Either way the number
    of parameters does not depend on ``t``; the second kernel doubles the weights.

    Args:
        spatial_dims: number of spatial dimensions, 1, 2 or 3.
        channels: number of channels, of the input and of the output.
        t: number of recurrent applications, at least 1. Defaults to 2.
        separate_recurrent: whether the recurrent applications have a kernel of their own. Defaults to False.
        act: activation, as MONAI's factories take it. Defaults to ReLU.
        norm: normalisation, as MONAI's factories take it. Defaults to GroupNorm with 8 groups.

    Shape:
        Input and output (B, channels, *spatial).

    Raises:
        UserError: if ``t`` is less than 1.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        t: int = 2,
        separate_recurrent: bool = False,
        act: str | tuple = "RELU",
        norm: str | tuple = ("GROUP", {"num_groups": 8}),
    ) -> None:
        super().__init__()
        if t < 1:
            raise UserError(f"t must be at least 1, the number of recurrent applications, got {t}.")
        self.t = t
        conv = Conv[Conv.CONV, spatial_dims]
        self.conv = conv(channels, channels, kernel_size=3, padding=1, bias=False)
        self.recurrent = conv(channels, channels, kernel_size=3, padding=1, bias=False) if separate_recurrent else None
        self.norm = get_norm_layer(norm, spatial_dims, channels)
        self.act = get_act_layer(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the state after the last step."""
        feed_forward = self.conv(x)
        h = self.act(self.norm(feed_forward))
        for _ in range(self.t):
            s = self.conv(x + h) if self.recurrent is None else feed_forward + self.recurrent(h)
            h = self.act(self.norm(s))
        return h

    def extra_repr(self) -> str:
        """Show the number of steps, which no layer does."""
        return f"t={self.t}"


class RecurrentBlock(nn.Module):
    """Recurrent (residual) convolutional unit of Alom et al., "R2U-Net" (2018), section III, figure 4 (b) and (d).

    A convolution of size 1, with bias, brings the input to the block's width; two :class:`RecurrentConv` follow, and
    what went into them is added to what comes out (equation 3). Without that addition it is the block of RU-Net.

    Args:
        spatial_dims: number of spatial dimensions, 1, 2 or 3.
        in_channels: number of input channels.
        out_channels: number of output channels.
        t: number of recurrent applications of each layer, at least 1. Defaults to 2.
        separate_recurrent: whether they have a kernel of their own. Defaults to False.
        residual: whether to add what goes into the recurrent layers to their output. Defaults to True.
        act: activation, as MONAI's factories take it. Defaults to ReLU.
        norm: normalisation, as MONAI's factories take it. Defaults to GroupNorm with 8 groups.
        use_checkpoint: whether to recompute the block in the backward pass instead of keeping its activations.
            Defaults to False.

    Shape:
        Input (B, in_channels, *spatial). Output (B, out_channels, *spatial).

    Raises:
        UserError: if ``t`` is less than 1.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        t: int = 2,
        separate_recurrent: bool = False,
        residual: bool = True,
        act: str | tuple = "RELU",
        norm: str | tuple = ("GROUP", {"num_groups": 8}),
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.use_checkpoint = use_checkpoint
        self.conv1x1 = Conv[Conv.CONV, spatial_dims](in_channels, out_channels, kernel_size=1)
        self.layers = nn.Sequential(
            RecurrentConv(spatial_dims, out_channels, t, separate_recurrent, act, norm),
            RecurrentConv(spatial_dims, out_channels, t, separate_recurrent, act, norm),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output."""
        if not torch.jit.is_scripting() and self.use_checkpoint and torch.is_grad_enabled():
            return checkpoint(self._transform, x, use_reentrant=False)
        return self._transform(x)

    def _transform(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1x1(x)
        y = self.layers(x)
        return x + y if self.residual else y
