"""What precision a processor is good at."""

from __future__ import annotations

import torch

__all__ = ["cpu_is_fast_in_bfloat16"]


def cpu_is_fast_in_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16 in hardware (AMX or AVX512_BF16); others are slower in it."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
