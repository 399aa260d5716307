"""A process that treats memory as ``predict`` does."""

from __future__ import annotations

import functools

import torch

from pu_unet_monai.runtime.malloc import keep_freed_memory, use_huge_pages

__all__ = ["run_as_predict"]


@functools.cache
def run_as_predict() -> None:
    """Have this process keep freed memory and use huge pages, as ``predict`` does, on one thread, until it ends."""
    use_huge_pages()
    torch.set_num_threads(1)
    keep_freed_memory().__enter__()
