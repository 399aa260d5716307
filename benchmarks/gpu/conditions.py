"""What all parts share: the device, the time that is left, the sizes, and how failures are caught."""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from pu_unet_monai.errors import first_cause
from pu_unet_monai.networks import create_network
from pu_unet_monai.networks.memory_format import lay_channels_last

__all__ = [
    "Conditions",
    "NotHereError",
    "OutOfTime",
    "Row",
    "Workload",
    "attempt",
    "forget_compiled",
    "release_memory",
    "workload",
]

Row = dict[str, Any]
"""One line of the results; with ``"error"`` or ``"skipped"`` where there is no measurement."""

_LONGEST_ERROR = 300


class OutOfTime(BaseException):
    """The time is over while something runs."""


class NotHereError(Exception):
    """This machine does not have what the measurement is about."""


@dataclass
class Conditions:
    """Where and for how long to measure.

    Attributes:
        device: the device.
        quick: tiny sizes and two rounds: a trial of the benchmark.
        deadline: the reading of ``time.perf_counter()`` after which nothing new is begun.
    """

    device: torch.device
    quick: bool
    deadline: float = math.inf

    @property
    def time_is_left(self) -> bool:
        """Whether something new may be begun."""
        return time.perf_counter() < self.deadline


class Workload(NamedTuple):
    """Images of one size and a network's widths; colour images and one class in 2D, four modalities and three in 3D."""

    spatial_dims: int
    batch: int
    size: int
    widths: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.spatial_dims}D {'x'.join([str(self.size)] * self.spatial_dims)}, batch {self.batch}"

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return {2: 3, 3: 4}[self.spatial_dims]

    @property
    def out_channels(self) -> int:
        """Classes."""
        return {2: 1, 3: 3}[self.spatial_dims]

    @property
    def input_size(self) -> tuple[int, ...]:
        """Size of the images, (B, C, *spatial)."""
        return self.batch, self.in_channels, *[self.size] * self.spatial_dims

    def image(self, device: torch.device) -> torch.Tensor:
        """Return images of random normal numbers, the same at every call."""
        return torch.randn(self.input_size, generator=torch.Generator().manual_seed(0)).to(device)

    def label(self, device: torch.device) -> torch.Tensor:
        """Return labels, a fifth of them foreground, in float32 as the bundles have them."""
        size = (self.batch, self.out_channels, *[self.size] * self.spatial_dims)
        return (torch.rand(size, generator=torch.Generator().manual_seed(1)) < 0.2).float().to(device)

    def network(self, name: str, device: torch.device, **options: Any) -> nn.Module:
        """Return a network of :func:`~pu_unet_monai.networks.create_network`, weights channels last as in the bundles.

        Args:
            name: its name.
            device: where it is to be.
            options: its options. Without ``channels`` or ``init_filters`` it has the widths of its own.
        """
        torch.manual_seed(0)
        network = create_network(
            name, self.spatial_dims, self.in_channels, self.out_channels, pad_to_multiple=True, **options
        ).to(device)
        lay_channels_last(network)
        return network.eval()

    def pu_unet(self, device: torch.device) -> nn.Module:
        """Return the PU-UNet."""
        return self.network("pu_unet", device, channels=self.widths)

    def baseline(self, device: torch.device) -> nn.Module:
        """Return PU-UNet's matched baseline."""
        return self.network("residual_unet", device, channels=self.widths)


_WIDTHS = {2: (32, 64, 128, 256, 512), 3: (16, 32, 64, 128, 256)}
"""Those of the bundles."""
_QUICK_WIDTHS = (8, 16, 16)
_QUICK_SIZES = {2: 32, 3: 8}


def workload(conditions: Conditions, spatial_dims: int, size: int, batch: int = 1) -> Workload:
    """Return a workload; in a quick run one of two images at most, and of tiny ones."""
    if conditions.quick:
        return Workload(spatial_dims, min(batch, 2), _QUICK_SIZES[spatial_dims], _QUICK_WIDTHS)
    return Workload(spatial_dims, batch, size, _WIDTHS[spatial_dims])


def attempt(
    conditions: Conditions, row: Mapping[str, Any], measure: Callable[..., Mapping[str, Any]], *arguments: Any
) -> Row:
    """Measure, if there is time, and catch what goes wrong.

    Args:
        conditions: the conditions.
        row: what is measured.
        measure: returns what was found.
        arguments: its arguments.

    Returns:
        The row with what was found, or with ``"error"`` or ``"skipped"``, and with ``"took_seconds"``.
    """
    if not conditions.time_is_left:
        return {**row, "skipped": "no time was left"}
    started = time.perf_counter()
    try:
        found = dict(measure(*arguments))
    except NotHereError as reason:
        found = {"skipped": str(reason)}
    except Exception as error:  # compilers and full memories fail in many ways
        found = {"error": first_cause(error)[:_LONGEST_ERROR]}
    if "error" in found:
        release_memory()  # behind the except clause: the error's traceback held the tensors
    return {**row, **found, "took_seconds": round(time.perf_counter() - started, 2)}


def release_memory() -> None:
    """Give back what a measurement left."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def forget_compiled() -> None:
    """Make the compiler forget what it compiled: it compiles a class's code eight times, then runs it as it is."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
