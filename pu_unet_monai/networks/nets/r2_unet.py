"""R2U-Net, RU-Net, and both with attention gates."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn as nn
from monai.networks.layers.factories import Conv, Pool

from pu_unet_monai.errors import UserError
from pu_unet_monai.networks.blocks.attention_gate import AttentionGate
from pu_unet_monai.networks.blocks.network_input import check_input, crop_to, pad_to_multiple
from pu_unet_monai.networks.blocks.network_options import check_network_options, group_count
from pu_unet_monai.networks.blocks.recurrent import RecurrentBlock

__all__ = ["R2UNet"]


class R2UNet(nn.Module):
    """Recurrent residual U-Net of Alom et al., "R2U-Net" (2018), section III, with attention gates on request.

    A U-Net whose blocks are two recurrent convolutional layers with a residual connection around them
    (:class:`~pu_unet_monai.networks.blocks.RecurrentBlock`): max pooling on the way down, a transposed convolution of
    size 2 and a concatenation on the way up, a convolution of size 1 at the end.

    The paper says of its network both that it has one kernel for the input and another for the recurrent part
    (equation 1), and that it has the parameters of the U-Net. No network meets both: ``separate_recurrent=True`` is
    the equation; ``separate_recurrent=False``, one kernel for both, comes near the claim. The rest of the difference
    is the recurrent layers' structure: convolutions of size 3 that keep the width, behind one of size 1 that changes
    it. Parameters with 3 channels in and 1 out, whatever ``t`` and ``residual`` are, beside
    :class:`~pu_unet_monai.networks.nets.PaddedUNet` of the same widths:

    ==================================== ======================== ==========================
    network                              widths 32, 64, ..., 512  widths 64, 128, ..., 1024
    ==================================== ======================== ==========================
    U-Net (``PaddedUNet``)               7,763,041                31,037,633
    one kernel (the default)             8,904,481                35,601,985
    one kernel, ``attention=True``       8,992,725                35,952,549
    two kernels                          16,756,513               67,010,113
    two kernels, ``attention=True``      16,844,757               67,360,677
    ==================================== ======================== ==========================

    Args:
        spatial_dims: number of spatial dimensions, 2 or 3. Defaults to 2.
        in_channels: number of input channels. Defaults to 3.
        out_channels: number of output channels (logits). Defaults to 1.
        channels: width at each resolution, from full to lowest. Defaults to (32, 64, 128, 256, 512).
        t: number of recurrent applications of each layer after the forward one, at least 1. Defaults to 2.
        separate_recurrent: whether the recurrent applications have a kernel of their own. Defaults to False.
        residual: whether blocks have a residual connection; False gives RU-Net. Defaults to True.
        attention: whether each skip connection passes an attention gate (Oktay et al. 2018), with half of the skip's
            channels inside. Defaults to False.
        act: activation, as MONAI's factories take it. Defaults to ReLU.
        norm: normalisation, as MONAI's factories take it; a layer's steps share it. Defaults to GroupNorm with 8
            groups.
        use_checkpoint: whether to recompute each block in the backward pass instead of keeping its activations.
            Defaults to False.

    Shape:
        Input (B, in_channels, *spatial) of any spatial size: it is padded by replication to the next multiple of
        ``2 ** (len(channels) - 1)`` and the output cropped back. Output (B, out_channels, *spatial), logits.

    Raises:
        UserError: if an option is not one of those listed, the norm's groups do not divide a width (with attention,
            also half of each width but the last), or an input does not have the dimensions or channels that the
            network takes.

    Example:
        >>> network = R2UNet(spatial_dims=2, in_channels=3, out_channels=1, attention=True)
        >>> network(torch.rand(1, 3, 100, 75)).shape
        torch.Size([1, 1, 100, 75])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        t: int = 2,
        separate_recurrent: bool = False,
        residual: bool = True,
        attention: bool = False,
        act: str | tuple = "RELU",
        norm: str | tuple = ("GROUP", {"num_groups": 8}),
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        check_network_options(spatial_dims, channels, norm)
        if attention:
            _check_halves(channels, norm)
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.size_multiple = 2 ** (len(channels) - 1)

        def block(in_channels: int, out_channels: int) -> RecurrentBlock:
            return RecurrentBlock(
                spatial_dims, in_channels, out_channels, t, separate_recurrent, residual, act, norm, use_checkpoint
            )

        self.encoders = nn.ModuleList(itertools.starmap(block, itertools.pairwise((in_channels, *channels[:-1]))))
        self.pool = Pool[Pool.MAX, spatial_dims](kernel_size=2)
        self.bottleneck = block(channels[-2], channels[-1])
        self.decoders = nn.ModuleList(
            _Decoder(
                Conv[Conv.CONVTRANS, spatial_dims](coarse, fine, kernel_size=2, stride=2),
                AttentionGate(spatial_dims, fine, fine, fine // 2, norm) if attention else None,
                block(2 * fine, fine),
            )
            for coarse, fine in itertools.pairwise(reversed(channels))
        )
        self.head = Conv[Conv.CONV, spatial_dims](channels[0], out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of ``x``."""
        check_input(x, self.in_channels, self.spatial_dims)
        x, size = pad_to_multiple(x, self.size_multiple)
        skips: list[torch.Tensor] = []
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        for decoder in self.decoders:
            x = decoder(x, skips.pop())
        return crop_to(self.head(x), size)


class _Decoder(nn.Module):
    """One step up: the skip, through the gate if there is one, beside the upsampled signal."""

    def __init__(self, up: nn.Module, gate: AttentionGate | None, block: RecurrentBlock) -> None:
        super().__init__()
        self.up = up
        self.gate = gate
        self.block = block

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = self.up(x)
        if self.gate is not None:
            skip = self.gate(x, skip)
        return self.block(torch.cat([skip, x], dim=1))


def _check_halves(channels: Sequence[int], norm: str | tuple) -> None:
    groups = group_count(norm)
    undivided = [width for width in channels[:-1] if width < 2 or width // 2 % groups]
    if undivided:
        raise UserError(
            f"channels {list(channels)}: with attention=True the norm's num_groups={groups} must divide half of every "
            f"width but the last, but does not divide half of {undivided}: choose multiples of {2 * groups}, or "
            "another norm."
        )
