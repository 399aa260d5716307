"""Training on the core of a window, without its context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import SimpleInferer
from monai.utils import ensure_tuple_rep

__all__ = ["CoreInferer"]


class CoreInferer(SimpleInferer):
    """Run the network on a window and return its output without the margin of context.

    So the loss counts the core alone, while the network is the same as without context.

    Args:
        margin: voxels of context on each side, a number or one an axis. Defaults to 0.
    """

    def __init__(self, margin: Sequence[int] | int = 0) -> None:
        super().__init__()
        self.margin = margin

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Return the core (B, C, *(window - 2 * margin)) of the output for ``inputs`` (B, C, *window)."""
        output = super().__call__(inputs, network, *args, **kwargs)
        margins = ensure_tuple_rep(self.margin, output.ndim - 2)
        core = [slice(margin, size - margin) for margin, size in zip(margins, output.shape[2:], strict=True)]
        return output[(slice(None), slice(None), *core)]
