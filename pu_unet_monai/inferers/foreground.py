"""Inference on the foreground alone: in one pass where that fits into memory, in tiles elsewhere."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer
from monai.transforms.utils import generate_spatial_bounding_box
from monai.utils import convert_to_dst_type, fall_back_tuple
from torch import nn

from pu_unet_monai.errors import UserError, first_cause
from pu_unet_monai.runtime.dry_run import DryRun, dry_run
from pu_unet_monai.runtime.malloc import frugal_malloc, generous_malloc, kept_bytes
from pu_unet_monai.runtime.memory import (
    available_bytes,
    format_bytes,
    parse_bytes,
    resident_bytes,
)
from pu_unet_monai.transforms.nonzero import nonzero

__all__ = ["ForegroundInferer"]

_log = logging.getLogger(__name__)

_Window = Literal["foreground"] | list[int]

_FIRST_PASS_BYTES = 64 * 1024 * 1024
"""What a first pass on a CPU takes beside tensors: pages of the libraries' code, and the code that oneDNN generates."""

_KEPT_BY_MALLOC = 3
"""With ``generous_malloc`` a process grows by up to 1.7 times the bytes needed; the rest is left to others."""


class ForegroundInferer(Inferer):
    """Run a network on the box of the foreground, the voxels where any channel is not 0; all others are background.

    The box is taken in one pass if that fits into the memory budget, and in the tiles of another inferer if not.
    What a pass needs is counted by :func:`~pu_unet_monai.runtime.dry_run.dry_run`, with its workspace, in the
    precision in force and without gradients; measured on CPU, that is 1.05 to 1.5 times what the process then grows
    by. (Where three times as much is free, malloc keeps freed blocks for speed: up to 1.7 times.) Tiles it is too
    where it cannot be counted: the network is not a module, or does not take or return that size.

    A network that normalises over its window (GroupNorm) gives other results for a box than for tiles: one pass is
    for weights that were trained on boxes.

    Args:
        inferer: what runs the tiles, with a ``roi_size`` and a ``sw_batch_size``, such as MONAI's
            ``SlidingWindowInferer``. An inferer without them gets the box as a whole.
        memory_budget: bytes, or a text such as ``"2GB"``, that the process may hold in all (CPU: resident memory,
            with libraries and the volume) or have allocated (CUDA). Defaults to None, what is free now.
        background: the output (logit) where no channel has a signal, or one per channel. Defaults to -10.
        one_pass: whether one pass is allowed. Defaults to True.

    Attributes:
        last: how the last image was run, for a report, None if it has no foreground: ``box`` (per axis, the first
            voxels of the foreground, and the first behind it), ``window`` (``"foreground"`` or the size of the
            tiles) and ``estimated_bytes`` (None if they could not be counted).

    Raises:
        UserError: if the budget cannot be read.
    """

    def __init__(
        self,
        inferer: Inferer,
        memory_budget: int | float | str | None = None,
        background: float | Sequence[float] = -10.0,
        one_pass: bool = True,
    ) -> None:
        super().__init__()
        self.inferer = inferer
        self.memory_budget = None if memory_budget is None else parse_bytes(memory_budget)
        self.background = background
        self.one_pass = one_pass
        self.last: dict[str, Any] | None = None
        self._dry_runs: weakref.WeakKeyDictionary[nn.Module, dict[Any, DryRun | None]] = weakref.WeakKeyDictionary()

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Return the network's output for images (B, C, *spatial), each cropped to its own box: (B, K, *spatial).

        Args:
            inputs: the images, of any size that the network or the tiles take.
            network: the network; it is not run on images without foreground.
            args: further arguments of the network.
            kwargs: further arguments of the network.

        Raises:
            UserError: if not even a tile fits into the budget, or the backgrounds do not fit the output's channels.
        """
        images = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        output: torch.Tensor | None = None
        for item in range(len(images)):
            start, end = generate_spatial_bounding_box(images[item], nonzero)
            if not any(end):
                self.last = None
                continue
            box = (slice(item, item + 1), slice(None), *(slice(s, e) for s, e in zip(start, end, strict=True)))
            window, needed = self._choose(images[box], network)
            self.last = {"box": [start, end], "window": window, "estimated_bytes": needed}
            with self._malloc(images.device, needed):
                inferer = SimpleInferer() if window == "foreground" else self.inferer
                part = inferer(images[box], network, *args, **kwargs)
            if output is None:
                output = self._background(images, part.shape[1], part.dtype, part.device)
            output[box] = torch.where(nonzero(images[box]).any(dim=1, keepdim=True).to(part.device), part, output[box])
        if output is None:
            output = self._background(images, *self._output_of(images, network, *args, **kwargs), images.device)
        return convert_to_dst_type(output, inputs, dtype=output.dtype, device=output.device)[0]

    def _choose(self, box: torch.Tensor, network: Callable[..., torch.Tensor]) -> tuple[_Window, int | None]:
        """Return what window to run a box (1, C, *spatial) with, and the bytes needed if they can be counted."""
        free = self._free_bytes(box.device)
        around = _FIRST_PASS_BYTES if box.device.type == "cpu" else 0
        factor = getattr(network, "memory_factor", 1.0)  # of a network that PyTorch does not run
        if self.one_pass:
            whole = self._dry_run(network, box, tuple(box.shape))
            if whole is not None and whole.output_size[2:] == box.shape[2:]:
                needed = int(whole.peak_bytes * factor) + around
                if needed <= free:
                    return "foreground", needed
        tile = self._tile_size(box)
        one = self._dry_run(network, box, tile)
        if one is None:
            return list(tile[2:]), None
        # beside the windows, an inferer holds the padded box, its output, and weights or a copy of the output
        channels = box.shape[1] + 2 * one.output_size[1] + 1
        needed = int(one.peak_bytes * factor) + around + channels * box[0, 0].numel() * box.element_size()
        if self.memory_budget is not None and needed > free:
            held = self.memory_budget - free
            raise UserError(
                f"memory_budget {format_bytes(self.memory_budget)} is too small: {format_bytes(held)} are held already "
                f"and tiles of {'x'.join(map(str, tile[2:]))} need {format_bytes(needed)}; choose a smaller roi_size, "
                f"or a memory_budget of at least {format_bytes(1.05 * (held + needed))}."
            )
        return list(tile[2:]), needed

    def _malloc(self, device: torch.device, needed: int | None) -> contextlib.AbstractContextManager[None]:
        """Return the context to run in: where memory is not short, giving it back would only cost time."""
        if device.type != "cpu" or needed is None:
            return contextlib.nullcontext()
        return generous_malloc() if _KEPT_BY_MALLOC * needed <= self._free_bytes(device) else frugal_malloc()

    def _tile_size(self, image: torch.Tensor) -> tuple[int, ...]:
        """Return the size (N, C, *spatial) of what the tiling inferer gives to the network."""
        roi_size = fall_back_tuple(getattr(self.inferer, "roi_size", None), image.shape[2:])
        return getattr(self.inferer, "sw_batch_size", 1), image.shape[1], *roi_size

    def _dry_run(
        self, network: Callable[..., torch.Tensor], image: torch.Tensor, size: tuple[int, ...]
    ) -> DryRun | None:
        """Count what the network needs for an input of a size, once per size; None if that is not possible."""
        if not isinstance(network, nn.Module):
            return None
        device_type = image.device.type
        dtype = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None
        known = self._dry_runs.setdefault(network, {})
        key = (size, device_type, dtype)
        if key not in known:
            try:
                known[key] = dry_run(network, size, device_type, dtype, workspace=True)
            except Exception as error:  # whatever the network raises for that size, or fake tensors for the network
                _log.warning("the memory for an input of %s cannot be estimated (%s)", size, first_cause(error))
                known[key] = None
        return known[key]

    def _free_bytes(self, device: torch.device) -> int:
        """Return how much may still be taken."""
        if self.memory_budget is None:
            return available_bytes(device)
        if device.type == "cuda":
            return self.memory_budget - torch.cuda.memory_allocated(device)
        return self.memory_budget - resident_bytes() + kept_bytes()

    def _background(
        self, images: torch.Tensor, channels: int, dtype: torch.dtype, device: torch.device
    ) -> torch.Tensor:
        """Return an output for all images that is background throughout."""
        background = torch.as_tensor(self.background, dtype=dtype, device=device).flatten()
        if len(background) not in (1, channels):
            raise UserError(
                f"background must be one number, or one for each of {channels} channels, got {self.background}."
            )
        output = torch.empty((len(images), channels, *images.shape[2:]), dtype=dtype, device=device)
        return output.copy_(background.view(-1, *[1] * (images.ndim - 2)))

    def _output_of(
        self, images: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> tuple[int, torch.dtype]:
        """Return the channels and the type of the output, without running the network if it can be run dry."""
        known = self._dry_run(network, images, self._tile_size(images))
        if known is not None:
            return known.output_size[1], known.output_dtype
        voxel = images[(slice(1), slice(None), *[slice(1)] * (images.ndim - 2))]
        output = self.inferer(voxel, network, *args, **kwargs)
        return output.shape[1], output.dtype
