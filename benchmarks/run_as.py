"""Processes that treat memory as ``predict`` does, or as PyTorch does by itself."""

from __future__ import annotations

import functools
import os

import torch

from pu_unet_monai.runtime.malloc import keep_freed_memory

__all__ = ["run_as_predict", "run_as_pytorch"]


@functools.cache
def run_as_predict() -> None:
    """Have this process keep freed memory, on one thread; importing the package asks for huge pages."""
    torch.set_num_threads(1)
    keep_freed_memory().__enter__()


def run_as_pytorch() -> None:
    """Have this process use no huge pages; it must not have made a tensor yet."""
    os.environ["THP_MEM_ALLOC_ENABLE"] = "0"
