"""SiLU by name, which MONAI's factory of activations lacks."""

from __future__ import annotations

import torch.nn as nn
from monai.networks.layers.factories import Act

__all__: list[str] = []


def _silu_type() -> type[nn.SiLU]:
    return nn.SiLU


# MONAI's "SWISH" computes the same in three operations, and keeps three tensors for the backward pass.
Act.add_factory_callable("SILU", _silu_type, "Sigmoid linear unit.")
