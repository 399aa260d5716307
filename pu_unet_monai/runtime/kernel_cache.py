"""What PyTorch's CPU library, oneDNN, keeps of every new size that it meets.

It makes a program for each convolution of each size and keeps the last 1,024. Where every case has a size of its own,
a process grows by some 40 KiB a case and convolution, to 0.1 GB and more, without ever using most of them again
(``tests/reliability/test_load.py`` measures it).
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from PIL import Image

__all__ = ["bound_kernel_cache", "convolutions_for_resizing"]

_KEPT = 128
"""Enough for one size of each network of the family: of PU-UNet 77, of SwinUNETR 107."""
_LARGE = 1_000_000
"""Pixels from which on oneDNN is the faster at MONAI's anti-aliasing, as timed by hand on one core with AMX."""


def bound_kernel_cache() -> None:
    """Have oneDNN keep fewer programs, unless the user has set the variable.

    It reads the variable once, at its first convolution.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_KEPT))


def convolutions_for_resizing(image: Any) -> contextlib.AbstractContextManager[None]:
    """Return a context in which PyTorch convolves a small image by itself, and a large one by oneDNN.

    The one makes no program for a size that may never come again, and starts at once; the other is faster in the end.

    Args:
        image: file of an image; anything else counts as large.
    """
    try:
        with Image.open(image) as opened:
            large = opened.width * opened.height >= _LARGE
    except Exception:  # no image, or a damaged one: whoever reads it says so
        large = True
    return contextlib.nullcontext() if large else _without_onednn()


@contextlib.contextmanager
def _without_onednn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TF32 acceleration")  # a flag for Intel's GPUs, which is set along with it
        with torch.backends.mkldnn.flags(enabled=False):
            yield
