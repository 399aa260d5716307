"""Low precision on a CPU, which MONAI's engines do not offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer
from torch import nn

from pu_unet_monai.networks.memory_format import lay_channels_last
from pu_unet_monai.runtime.precision import cpu_is_fast_in_bfloat16, to_float32

__all__ = ["CPUBFloat16Inferer"]


class CPUBFloat16Inferer(Inferer):
    """Run another inferer in bfloat16 on a CPU that is fast at it, and as it is everywhere else.

    MONAI's engines autocast on CUDA alone: with ``amp=True`` on a CPU they compute in float32. Weights stay
    float32, and so does the output. The network's weights are laid out channels last, as a bundle's configuration lays
    them out, if whoever made the network did not: in 3D that halves the time.

    Args:
        inferer: the inferer to run. Defaults to ``SimpleInferer()``.
        enabled: the bundle's ``amp`` key: False switches bfloat16 off. Defaults to True.
    """

    def __init__(self, inferer: Inferer | None = None, enabled: bool = True) -> None:
        super().__init__()
        self.inferer = SimpleInferer() if inferer is None else inferer
        self.enabled = enabled and cpu_is_fast_in_bfloat16()

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """Return the network's float32 output for ``inputs`` (B, C, *spatial): with deep supervision a list of them."""
        enabled = self.enabled and inputs.device.type == "cpu"
        if enabled and isinstance(network, nn.Module):
            lay_channels_last(network)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = self.inferer(inputs, network, *args, **kwargs)
        return to_float32(output) if enabled else output
