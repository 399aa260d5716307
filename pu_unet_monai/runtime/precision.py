"""What precision a processor is good at."""

from __future__ import annotations

import torch

__all__ = ["cpu_is_fast_in_bfloat16", "training_dtype"]


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
