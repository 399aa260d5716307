"""Channels last, the layout that a CPU's convolutions want."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["CHANNELS_LAST", "lay_channels_last"]

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By the number of axes of a tensor, of a batch or of a convolution's weights."""


def lay_channels_last(network: nn.Module) -> None:
    """Lay the weights of a network of 2D or of 3D convolutions out with channels last; it costs nothing if they are."""
    axes = {parameter.dim() for parameter in network.parameters()} & CHANNELS_LAST.keys()
    if len(axes) == 1:
        network.to(memory_format=CHANNELS_LAST[axes.pop()])  # type: ignore[call-overload]
