"""The part of an image that holds something, in one pass where memory allows it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.inferers import Inferer
from monai.transforms.utils import generate_spatial_bounding_box
from monai.utils import ensure_tuple_rep
from torch import nn

from pu_unet_monai.errors import UserError
from pu_unet_monai.runtime.memory import (
    available_bytes,
    format_bytes,
    frugal_malloc,
    parse_bytes,
    peak_live_bytes,
    resident_bytes,
)
from pu_unet_monai.transforms.nonzero import nonzero

__all__ = ["ForegroundInferer", "Passage"]

_ALLOCATOR = 1.15
"""Resident memory of a pass over its live tensors and workspaces, at most, as measured with ``frugal_malloc``."""


@dataclass(frozen=True)
class Passage:
    """How an image went through the network.

    Args:
        box: size of the foreground box.
        one_pass: whether the network saw the box at once; else it went by the tiles of the inner inferer.
        estimated_bytes: memory of one pass over the box; None if it was not asked for or could not be estimated.
    """

    box: tuple[int, ...]
    one_pass: bool
    estimated_bytes: int | None


class ForegroundInferer(Inferer):
    """Run a network on the box of voxels that are not 0, and fill the rest of its output.

    The box goes through the network at once if ``one_pass`` and memory allow it, and through ``inferer`` (windows)
    otherwise. GroupNorm and InstanceNorm see what the network sees: use ``one_pass`` with weights that were trained
    on whole boxes.

    Args:
        inferer: inferer of the box where one pass is not wanted or does not fit.
        memory_budget: bytes, or a text such as ``"2GB"``: what this process may hold in all (libraries and image
            included), or allocate on a CUDA device. Defaults to None: what is free.
        background: logit of what lies outside of the box, one number or one for each output channel. Defaults to -10.
        one_pass: whether the box may go through the network at once. Defaults to True.

    Attributes:
        last: how the last image went through the network, a :class:`Passage`; None before the first, or if it was
            empty.

    Raises:
        UserError: if the budget is no amount of memory.
    """

    def __init__(
        self,
        inferer: Inferer,
        memory_budget: int | float | str | None = None,
        background: Sequence[float] | float = -10.0,
        one_pass: bool = True,
    ) -> None:
        super().__init__()
        self.inferer = inferer
        self.memory_budget = None if memory_budget is None else parse_bytes(memory_budget)
        self.background = background
        self.one_pass = one_pass
        self.last: Passage | None = None
        self._estimates: dict[tuple, int | None] = {}

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Return the network's output for ``inputs`` (B, C, *spatial): (B, C', *spatial).

        Raises:
            UserError: if not even one tile fits into ``memory_budget``.
        """
        images = inputs.as_subclass(torch.Tensor)
        output: torch.Tensor | None = None
        empty = []
        for index, image in enumerate(images):
            start, end = generate_spatial_bounding_box(image, nonzero)
            if not all(last > first for first, last in zip(start, end, strict=True)):
                empty.append(index)
                continue
            box = tuple(slice(first, last) for first, last in zip(start, end, strict=True))
            logits = self._run(image[(None, slice(None), *box)], network, *args, **kwargs)
            if output is None:
                output = self._filled(len(images), logits, images.shape[2:])
            output[(index, slice(None), *box)] = logits[0]
        if output is None:
            return self._of_nothing(images, network, *args, **kwargs)
        return output

    def _run(self, box: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        estimate = self._estimate(network, box, box.shape) if self.one_pass else None
        fits = estimate is not None and estimate <= self._free_bytes(box.device)
        self.last = Passage(tuple(box.shape[2:]), fits, estimate)
        if fits:
            with frugal_malloc():
                return network(box, *args, **kwargs)
        if self.memory_budget is None:
            return self.inferer(box, network, *args, **kwargs)
        self._check_tile(network, box)
        with frugal_malloc():
            return self.inferer(box, network, *args, **kwargs)

    def _check_tile(self, network: Callable[..., torch.Tensor], box: torch.Tensor) -> None:
        """Raise if the budget is too small for one step of the inner inferer."""
        roi_size = getattr(self.inferer, "roi_size", None)
        if roi_size is None:
            return
        tile = ensure_tuple_rep(roi_size, box.ndim - 2)
        needed = self._estimate(network, box, (getattr(self.inferer, "sw_batch_size", 1), box.shape[1], *tile))
        free = self._free_bytes(box.device)
        if needed is not None and needed > free:
            held = self.memory_budget - free if self.memory_budget is not None else 0
            raise UserError(
                f"memory_budget {format_bytes(self.memory_budget or 0)}: a tile of {'x'.join(map(str, tile))} needs "
                f"{format_bytes(needed)} beside the {format_bytes(held)} that are held already; raise memory_budget "
                f"to {format_bytes(1.05 * (held + needed))}, or choose a smaller roi_size."
            )

    def _free_bytes(self, device: torch.device) -> int:
        if self.memory_budget is None:
            return available_bytes(device)
        held = torch.cuda.memory_allocated(device) if device.type == "cuda" else resident_bytes()
        return self.memory_budget - held

    def _estimate(self, network: Callable[..., torch.Tensor], like: torch.Tensor, size: Sequence[int]) -> int | None:
        """Estimate the memory of a pass over an input of ``size``; None where that cannot be done."""
        device_type = like.device.type
        dtype = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None
        key = (id(network), tuple(size), device_type, dtype)
        if key not in self._estimates:
            self._estimates[key] = None
            if isinstance(network, nn.Module):
                with contextlib.suppress(Exception):  # not every network runs on fake tensors
                    live = peak_live_bytes(network, size, device_type, dtype, workspace=device_type == "cpu")
                    self._estimates[key] = int(_ALLOCATOR * live)
        return self._estimates[key]

    def _filled(self, count: int, like: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        channels = like.shape[1]
        values = like.new_tensor(ensure_tuple_rep(self.background, channels))
        return values.view(1, channels, *[1] * len(size)).repeat(count, 1, *size)

    def _of_nothing(
        self, images: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Return background for images without foreground; a small input tells the number of channels."""
        self.last = None
        probe = network(images[(slice(0, 1), slice(None), *[slice(0, 32)] * (images.ndim - 2))], *args, **kwargs)
        return self._filled(len(images), probe, images.shape[2:])
