from __future__ import annotations

import pytest
import torch
from torch import nn

from pu_unet_monai.runtime.accelerate import AcceleratedNetwork


@pytest.mark.parametrize(
    ("convolution", "size", "precision", "layout"),
    [
        (nn.Conv2d, (1, 2, 8, 8), "float32", torch.channels_last),
        (nn.Conv2d, (1, 2, 8, 8), "bfloat16", torch.channels_last),
        (nn.Conv3d, (1, 2, 8, 8, 8), "float32", torch.contiguous_format),
        (nn.Conv3d, (1, 2, 8, 8, 8), "bfloat16", torch.channels_last_3d),
    ],
)
def test_memory_format_of_eager(convolution, size, precision, layout) -> None:
    """Whatever the format was before."""
    for before in (torch.contiguous_format, torch.channels_last if len(size) == 4 else torch.channels_last_3d):
        network = convolution(2, 4, 3).eval().to(memory_format=before)
        AcceleratedNetwork(network, "eager", precision, torch.zeros(size))
        assert network.weight.is_contiguous(memory_format=layout)
