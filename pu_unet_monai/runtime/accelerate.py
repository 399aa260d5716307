"""A network as a runtime other than plain PyTorch runs it, compared with plain PyTorch before it is used."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from pu_unet_monai.errors import UserError, first_cause
from pu_unet_monai.networks.memory_format import lay_channels_last
from pu_unet_monai.runtime.comparison import Reference, difference
from pu_unet_monai.runtime.openvino_network import OpenVINONetwork
from pu_unet_monai.runtime.precision import cpu_is_fast_in_bfloat16, to_float32

__all__ = ["PRECISIONS", "RUNTIMES", "AcceleratedNetwork", "accelerate", "best_precision", "best_runtime"]

RUNTIMES = ("eager", "compile", "openvino")
PRECISIONS = ("float32", "bfloat16")

TOLERANCES = {"float32": 1e-3, "bfloat16": 5e-2}
"""Largest difference from float32 eager, relative to the largest logit. Measured: 1e-5 and 1e-2."""

_LARGEST_CHECKED = {2: 128, 3: 48}
"""Side of the part of an image at which runtimes are compared, by spatial dimensions."""

_SIZES_TRIED = 32

_log = logging.getLogger(__name__)

_Run = Callable[[torch.Tensor], torch.Tensor]


class AcceleratedNetwork(nn.Module):
    """A network that takes and returns one tensor, run by a runtime in a precision; float32 comes out.

    A copy (``copy.deepcopy``, as a dry run makes it) is one of the network itself.

    Args:
        network: the network, in evaluation mode.
        runtime: one of :data:`RUNTIMES`.
        precision: one of :data:`PRECISIONS`.
        example: an input from which the runtime may learn the network, (B, C, *spatial).

    Attributes:
        memory_factor: how many times the bytes of PyTorch's tensors the runtime takes. Measured on one pass of the 3D
            PU-UNet over 138x173x138 voxels: OpenVINO 1.2 in float32 and 1.6 in bfloat16.
    """

    def __init__(self, network: nn.Module, runtime: str, precision: str, example: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        self.runtime = runtime
        self.precision = precision
        self.memory_factor = 1.7 if runtime == "openvino" else 1.0
        self._runs = [_START[runtime](network, precision, example)]  # in a list, or a network would count twice

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the network's output for x, (B, C, *spatial)."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            try:
                return to_float32(self._runs[0](x))
            except Exception as error:  # of a compiler, at a size that it had not seen
                if self.runtime == "eager":
                    raise
                _log.warning("runtime %s fails at %s, eager goes on: %s", self.runtime, [*x.shape], first_cause(error))
                self.runtime, self.memory_factor = "eager", 1.0
                self._runs = [_start_eager(self.network, self.precision, x)]
                return to_float32(self._runs[0](x))

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Module:
        return copy.deepcopy(self.network, memo)


def _start_eager(network: nn.Module, precision: str, example: torch.Tensor) -> _Run:
    if example.device.type == "cpu" and example.dim() == 5 and precision == "float32":
        # on volumes no slower than channels last, a fifth less memory, and a GroupNorm that is exact to 1e-6, not 1e-3
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    elif example.device.type == "cpu":
        lay_channels_last(network)
    return network


def _start_compile(network: nn.Module, precision: str, example: torch.Tensor) -> _Run:
    return torch.compile(_start_eager(network, precision, example))


def _start_openvino(network: nn.Module, precision: str, example: torch.Tensor) -> _Run:
    if example.device.type != "cpu":
        raise UserError(f"the image is on {example.device}, and OpenVINO runs on the CPU here")
    return OpenVINONetwork(network, torch.cat([example, example]), precision)


_START: dict[str, Callable[[nn.Module, str, torch.Tensor], _Run]] = {
    "eager": _start_eager,
    "compile": _start_compile,
    "openvino": _start_openvino,
}


def best_precision(device: torch.device) -> str:
    """Return the precision that a device is fast in."""
    fast = torch.cuda.is_bf16_supported(False) if device.type == "cuda" else cpu_is_fast_in_bfloat16()
    return "bfloat16" if fast else "float32"


def best_runtime(device: torch.device, spatial_dims: int, precision: str) -> str:
    """Return the runtime that is fastest with what is installed, the time to start it included.

    OpenVINO takes some seconds to start, and a part of a second for each new size, which volumes in float32 pay back.
    """
    worth_it = device.type == "cpu" and spatial_dims == 3 and precision == "float32"
    return "openvino" if worth_it and importlib.util.find_spec("openvino") else "eager"


@torch.no_grad()
def accelerate(
    network: nn.Module, image: torch.Tensor, candidates: Sequence[tuple[str, str]]
) -> tuple[AcceleratedNetwork, float]:
    """Return a network run by the first runtime that agrees with float32 eager on parts of an image.

    Args:
        network: the network, in evaluation mode.
        image: an image (B, C, *spatial) that it is to run on.
        candidates: runtimes and precisions to try, in this order. Where none can be used, and says so in a warning, it
            is float32 eager.

    Returns:
        The network, and its largest difference from float32 eager, relative to the largest logit.
    """
    try:
        _start_eager(network, "float32", image)  # what the others are compared with
        references = _references(network, image)
    except UserError as error:
        _log.warning("no runtime can be compared with float32 eager, which is used: %s", error)
        references, candidates = [], []
    for runtime, precision in candidates:
        try:
            accelerated = AcceleratedNetwork(network, runtime, precision, references[-1].image)
            worst = max(difference(accelerated, reference)["relative"] for reference in references)
        except Exception as error:  # compilers and converters fail in many ways
            _log.warning("runtime %s in %s cannot be used: %s", runtime, precision, first_cause(error))
            continue
        if worst <= TOLERANCES[precision]:
            return accelerated, worst
        _log.warning(
            "runtime %s in %s is not used: its logits differ from float32 eager by %.1e of the largest, more than %g",
            *(runtime, precision, worst, TOLERANCES[precision]),
        )
    return AcceleratedNetwork(network, "eager", "float32", image), 0.0


def _references(network: nn.Module, image: torch.Tensor) -> list[Reference]:
    """Run the network in float32 on two parts of an image, of different sizes if it takes several.

    Networks without padding take sizes of their own only, which are looked for downwards; some take the whole image
    alone.

    Raises:
        UserError: if the network takes none of them.
    """
    side = _LARGEST_CHECKED[image.dim() - 2]
    large = [min(size, side) for size in image.shape[2:]]
    small = [max(size - size // (3 + axis) - 1, 1) for axis, size in enumerate(large)]
    references = [*_first_taken(network, image, large), *_first_taken(network, image, small)]
    references = references or [*_first_taken(network, image, image.shape[2:], tries=1)]
    if not references:
        raise UserError(f"the network takes no part of an image of {list(image.shape)}, or does not return one tensor")
    return references


def _first_taken(
    network: nn.Module, image: torch.Tensor, size: Sequence[int], tries: int = _SIZES_TRIED
) -> Iterator[Reference]:
    """Run the network on the middle of an image, of the first size from ``size`` downwards that it takes, if any."""
    for less in range(min(tries, *size)):
        part = image[:1].float()
        for axis, length in enumerate(size, start=2):
            part = part.narrow(axis, (image.shape[axis] - length + less) // 2, length - less)
        with contextlib.suppress(Exception), torch.autocast(image.device.type, enabled=False):
            logits = network(part.contiguous())
            if isinstance(logits, torch.Tensor):
                yield Reference(part.contiguous(), logits)
            return
