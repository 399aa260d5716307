"""How far an exported network is from the network itself, shape by shape."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pu_unet_monai.errors import UserError

__all__ = ["SHAPES", "Reference", "difference", "references"]

SHAPES = {
    2: ((1, 1, 1), (2, 16, 16), (1, 5, 70), (2, 17, 33), (1, 64, 48), (1, 352, 352)),
    3: ((1, 1, 1, 1), (2, 16, 16, 16), (1, 7, 40, 5), (2, 17, 20, 33), (1, 32, 48, 16), (1, 96, 112, 96)),
}
"""Batch and spatial sizes to compare at, by spatial dimensions.

One pixel, a single one at the lowest of five resolutions, odd and even sizes that are padded, sizes that fit, a usual
size; one image and two. At the usual size sums over many pixels differ most.
"""


@dataclass(frozen=True)
class Reference:
    """An input (B, C, *spatial) of random normal numbers, and the network's output for it."""

    image: torch.Tensor
    logits: torch.Tensor


@torch.no_grad()
def references(network: nn.Module, channels: int, spatial_dims: int) -> list[Reference]:
    """Run the network at :data:`SHAPES`, with inputs that are the same at every call.

    A shape that the network itself refuses is left out: GroupNorm does not take a group of a single value, and a
    network that does not pad wants sizes that it can halve.

    Raises:
        UserError: if it refuses all of them.
    """
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(batch, channels, *size, generator=generator) for batch, *size in SHAPES[spatial_dims]]
    taken = []
    for image in images:
        with contextlib.suppress(ValueError, RuntimeError):
            taken.append(Reference(image, network(image)))
    if not taken:
        raise UserError(
            f"the network takes none of the sizes that exports are compared at ({list(SHAPES[spatial_dims])}, batch "
            "first), so that no export of it can be checked; choose a network that takes any size."
        )
    return taken


@torch.no_grad()
def difference(run: Callable[[torch.Tensor], torch.Tensor], reference: Reference) -> dict[str, Any]:
    """Compare an exported network with the network's own output.

    Args:
        run: the exported network.
        reference: an input, and what the network gave.

    Returns:
        ``shape`` of the input; the largest ``absolute`` difference of the logits; the same ``relative`` to the
        largest logit.

    Raises:
        ValueError: if the output has another shape, or is not finite.
    """
    logits = run(reference.image)
    if logits.shape != reference.logits.shape:
        raise ValueError(f"the output has shape {list(logits.shape)}, expected {list(reference.logits.shape)}")
    absolute = (logits - reference.logits).abs().max().item()
    if not math.isfinite(absolute):
        raise ValueError(f"the logits of an input of shape {list(reference.image.shape)} are NaN or infinite")
    largest = reference.logits.abs().max().item()
    return {"shape": list(reference.image.shape), "absolute": absolute, "relative": absolute / max(largest, 1e-12)}
