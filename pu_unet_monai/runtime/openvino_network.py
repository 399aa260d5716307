"""A network as OpenVINO runs it on the CPU."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from monai.networks.utils import eval_mode
from torch import nn

__all__ = ["import_openvino", "run_openvino", "to_openvino"]

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def import_openvino() -> ModuleType:
    """Import OpenVINO without the package through which its import reports to its maker over the network."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def to_openvino(network: nn.Module, example: torch.Tensor) -> Any:
    """Convert a network that takes any size; where it does not, other sizes than the example's come out wrong.

    Tracing takes a tenth of the time of :func:`~pu_unet_monai.runtime.export.export_program`, but keeps no check.

    Args:
        network: the network, on the CPU; it stays as it is.
        example: an input (B, C, *spatial); no axis of 1.
    """
    with eval_mode(network), torch.autocast("cpu", enabled=False), warnings.catch_warnings(action="ignore"):
        traced = torch.jit.trace(network, example, check_trace=False)
        return import_openvino().convert_model(traced, example_input=example)


def run_openvino(network: Any, precision: str = "float32") -> Callable[[torch.Tensor], torch.Tensor]:
    """Compile an OpenVINO network for the CPU, with as many threads as PyTorch has.

    Args:
        network: what :func:`to_openvino` returned, or an ``.xml`` file.
        precision: ``"float32"``, or ``"bfloat16"``, which OpenVINO chooses by itself where the CPU is good at it.
            Defaults to ``"float32"``.

    Returns:
        A function from images (B, C, *spatial), float32, to the output.
    """
    settings = {
        "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,  # several processes would all be pinned to the same cores
    }
    compiled = import_openvino().Core().compile_model(network, "CPU", settings)
    return lambda image: torch.from_numpy(compiled(image.contiguous().numpy())[0].copy())
