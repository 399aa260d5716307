"""Whether a network is run for its numbers, or for the operations that it is made of."""

from __future__ import annotations

import torch

__all__ = ["is_taken_apart"]


def is_taken_apart() -> bool:
    """Tell whether an exporter, a compiler or ``torch.func`` looks for operations that it knows."""
    return bool(torch.compiler.is_compiling() or torch.jit.is_tracing() or torch._C._are_functorch_transforms_active())
