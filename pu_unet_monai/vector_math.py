"""MKL's vector functions, called once before several threads call them."""

from __future__ import annotations

import functools

import torch

__all__ = ["settle_vector_math"]

_FUNCTIONS = (
    *("acos", "asin", "atan", "cos", "cosh", "erf", "erfc", "erfinv", "exp", "expm1", "lgamma", "log", "log10"),
    *("log1p", "log2", "rsqrt", "sigmoid", "sin", "sinh", "sqrt", "tan", "tanh"),
)


@functools.cache
def settle_vector_math() -> None:
    """Call each function that PyTorch has MKL compute, in one thread; nothing, if this process has done so.

    MKL chooses the code of a function at its first call. If two threads make that call at once, one of them may get
    less accurate code for that one call (https://github.com/pytorch/pytorch/issues/188792). In one of some 500 programs
    the kernel that smooths an image before it is made smaller was wrong by 0.0001, and the training was not that of
    its seed.
    """
    for dtype in (torch.float32, torch.float64):
        some = torch.full((8,), 0.5, dtype=dtype)
        for name in _FUNCTIONS:
            getattr(torch, name)(some)
