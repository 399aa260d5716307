"""What precision a processor is good at."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["cpu_is_fast_in_bfloat16", "to_float32", "training_dtype"]


def cpu_is_fast_in_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16 in hardware (AMX or AVX512_BF16); others are slower in it."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def training_dtype(device: torch.device, amp: bool) -> torch.dtype:
    """Return the precision in which the bundles train on a device.

    Args:
        device: where the training runs.
        amp: the bundle's key: whether low precision is wanted.
    """
    if amp and device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if amp and device.type == "cpu" and cpu_is_fast_in_bfloat16() else torch.float32


def to_float32(output: Any) -> Any:
    """Return a network's output, or a list of them (deep supervision), in float32."""
    return [each.float() for each in output] if isinstance(output, list | tuple) else output.float()
