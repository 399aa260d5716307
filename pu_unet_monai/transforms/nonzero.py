"""What counts as foreground of a skull-stripped volume."""

from __future__ import annotations

import torch

__all__ = ["nonzero"]


def nonzero(volume: torch.Tensor) -> torch.Tensor:
    """Return where ``volume`` is not 0: the ``select_fn`` of MONAI's ``CropForeground`` for signed intensities."""
    return volume != 0
