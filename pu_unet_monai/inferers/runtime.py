"""Inference by the fastest runtime that a machine has, in the precision that it is good at."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer
from torch import nn

from pu_unet_monai.errors import UserError
from pu_unet_monai.runtime.accelerate import (
    PRECISIONS,
    RUNTIMES,
    AcceleratedNetwork,
    accelerate,
    best_precision,
    best_runtime,
)
from pu_unet_monai.runtime.precision import to_float32

__all__ = ["RuntimeInferer"]

AUTO = "auto"


class RuntimeInferer(Inferer):
    """Run another inferer with a network that PyTorch, its compiler or OpenVINO runs, in float32 or bfloat16.

    On the first image, and after a change of the weights, the runtime is compared with PyTorch in float32 on two parts
    of the image, and dropped with a warning if it disagrees or does not work: then it is PyTorch in the same precision,
    then in float32. (Of other changes to a network, such as of an attribute, OpenVINO's copy knows nothing.) For
    inference alone: gradients are not computed.

    Args:
        inferer: the inferer to run. Defaults to ``SimpleInferer()``.
        runtime: ``"eager"`` (PyTorch as it is), ``"compile"`` (``torch.compile``, which needs a compiler and some
            minutes), ``"openvino"`` (on CPUs, if installed), or ``"auto"``: OpenVINO for volumes in float32, where it
            can be used and no memory budget is to be kept, else eager. Defaults to ``"auto"``.
        precision: ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where the hardware is fast in it (AMX,
            AVX512_BF16, recent GPUs). Defaults to ``"auto"``.

    Attributes:
        last: how the last image was run, for a report: ``runtime``, ``precision`` and ``difference`` (of the logits
            from those of float32 eager, relative to the largest); None before.

    Raises:
        UserError: if ``runtime`` or ``precision`` is not one of these, or a memory budget cannot be kept.
    """

    def __init__(self, inferer: Inferer | None = None, runtime: str = AUTO, precision: str = AUTO) -> None:
        super().__init__()
        for key, value, known in (("runtime", runtime, RUNTIMES), ("precision", precision, PRECISIONS)):
            if value not in (AUTO, *known):
                raise UserError(f"{key} must be one of {', '.join((AUTO, *known))}, got {value!r}.")
        self.inferer = SimpleInferer() if inferer is None else inferer
        self.runtime = runtime
        self.precision = precision
        if runtime == "openvino" and importlib.util.find_spec("openvino") is None:
            raise UserError("runtime openvino: not installed here; pip install openvino, or use runtime=eager.")
        budget = getattr(self.inferer, "memory_budget", None)
        if runtime == "openvino" and budget is not None:
            raise UserError(
                "runtime openvino: what memory it takes is not counted, so memory_budget cannot be kept; use "
                "runtime=eager, or leave memory_budget out."
            )
        self._budget = budget
        self._network: AcceleratedNetwork | None = None
        self._difference = 0.0
        self._made_of: Any = None
        self._lock = threading.Lock()

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Return the network's output for images (B, C, *spatial), float32.

        Args:
            inputs: the images.
            network: the network; what is not an ``nn.Module`` in evaluation mode is run as it is.
            args: further arguments of the network; with any it is run as it is.
            kwargs: further arguments of the network; with any it is run as it is.
        """
        if not isinstance(network, nn.Module) or network.training or args or kwargs:
            return self.inferer(inputs, network, *args, **kwargs)
        with torch.no_grad():
            accelerated = self._accelerated(network, inputs)
            # an inferer that counts memory asks for the precision
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=accelerated.precision == "bfloat16"):
                return to_float32(self.inferer(inputs, accelerated))

    @property
    def last(self) -> dict[str, Any] | None:
        """How the last image that could be accelerated was run, see above."""
        if self._network is None:
            return None
        return {
            "runtime": self._network.runtime,
            "precision": self._network.precision,
            "difference": self._difference,
        }

    def _accelerated(self, network: nn.Module, image: torch.Tensor) -> AcceleratedNetwork:
        """Return the network in its runtime, made anew where the weights changed: OpenVINO has a copy of them."""
        with self._lock:  # a server's threads share the inferer
            if self._network is None or self._made_of != _fingerprint(network, image.device):
                image = image.as_tensor() if isinstance(image, MetaTensor) else image
                self._network, self._difference = accelerate(network, image, self._candidates(image))
                self._made_of = _fingerprint(network, image.device)
            return self._network

    def _candidates(self, image: torch.Tensor) -> list[tuple[str, str]]:
        """Return what to try: what was asked for, and plain PyTorch in the same precision."""
        precision = best_precision(image.device) if self.precision == AUTO else self.precision
        runtime = self.runtime
        if runtime == AUTO:
            fastest = best_runtime(image.device, image.dim() - 2, precision)
            runtime = fastest if self._budget is None else "eager"
        return list(dict.fromkeys([(runtime, precision), ("eager", precision)]))


def _fingerprint(network: nn.Module, device: torch.device) -> tuple[Any, ...]:
    """Return what changes with the weights: replaced, written to, or written to behind autograd's back (``.data``)."""
    tensors = [tensor.detach() for tensor in (*network.parameters(), *network.buffers())]
    # together: on a GPU each number alone would wait for the card
    sums = torch.stack([tensor.sum(dtype=torch.float32) for tensor in tensors]).tolist() if tensors else []
    return id(network), device, [tensor.data_ptr() for tensor in tensors], sums
