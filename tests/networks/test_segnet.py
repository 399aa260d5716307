from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from pu_unet_monai.networks.nets import SegNet

from .base_tester import Abilities, NetworkCase, NetworkTester

PLAIN = Abilities(checkpoint="the network as published, kept plain")


def count(widths: list[int], taps: int = 9) -> int:
    """Parameters of convolutions without bias and their norms, from width to width."""
    return sum(taps * a * b + 2 * b for a, b in itertools.pairwise(widths))


# encoder 2-4-4, 4-8-8, 8-8-8-8; decoder 8-8-8-8, 8-8-4, 4-4, and the head 4-1
NARROW = [2, 4, 4, 8, 8, 8, 8, 8], [8, 8, 8, 8, 8, 4, 4]

CASES = [
    NetworkCase(
        "segnet",
        SegNet,
        {"channels": (4, 8, 8), "in_channels": 2},
        parameters=sum(map(count, NARROW)) + 9 * 4 + 1,
        in_channels=2,
        abilities=PLAIN,
    ),
    NetworkCase(
        "segnet_3d",
        SegNet,
        {"spatial_dims": 3, "channels": (4, 8, 8), "in_channels": 2, "out_channels": 3},
        parameters=sum(count(widths, 27) for widths in NARROW) + 27 * 4 * 3 + 3,
        size=(18, 20, 17),
        other_size=(20, 17, 22),
        in_channels=2,
        out_channels=3,
        abilities=PLAIN,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestNetworks(NetworkTester):
    pass


def test_parameters_of_the_paper() -> None:
    vgg = 14_714_688 - 4_224  # VGG-16's 13 convolutions, less their biases
    mirrored = [512] * 6 + [256] * 3 + [128] * 2 + [64] * 2
    with torch.device("meta"):
        network = SegNet()
    assert sum(p.numel() for p in network.parameters()) == vgg + 2 * 4_224 + count(mirrored) + 9 * 64 + 1 == 29_435_649
    for half in (network.encoders, network.decoders):
        assert sum(isinstance(module, nn.Conv2d) for module in half.modules()) == 13


@torch.no_grad()
def test_values_go_back_to_where_the_maxima_were() -> None:
    for spatial_dims in (2, 3):
        network = SegNet(spatial_dims, channels=(4, 8))
        x = torch.zeros(1, 1, *[4] * spatial_dims)
        x[0, 0, 0, 1] = 5.0  # in 3D a whole row
        x[0, 0, 3, 2] = 7.0
        y, maxima = network.pool(x)
        back = network._unpool(10 * y, maxima)
        assert back.shape == x.shape
        assert set(back.unique().tolist()) == {0, 50, 70}
        assert (back[x == 0] == 0).all()
        assert back.count_nonzero() == y.count_nonzero()


@torch.no_grad()
def test_decoder_sees_the_positions_of_the_maxima() -> None:
    """The same values elsewhere in each square of 2 x 2 give the same lowest resolution, at other pixels."""
    network = SegNet(in_channels=1, channels=(1, 1), norm="BATCH").eval()
    for parameter in network.parameters():
        if parameter.dim() > 1:  # convolutions that pass their input on
            parameter.zero_()
            parameter[0, 0, 1, 1] = 1.0
    network.decoders[-1][-1].bias.zero_()
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 1, 2] = 1.0
    # batch norms at their start divide by sqrt(1 + 1e-5), one for each convolution but the last
    torch.testing.assert_close(network(x), x, rtol=1e-4, atol=0)
    torch.testing.assert_close(network(x.flip(2, 3)), x.flip(2, 3), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims must be 2 or 3, got 1"),
        ({"channels": (8,)}, r"at least 2 resolutions, got \[8\]"),
        ({"channels": (8, 12), "norm": ("GROUP", {"num_groups": 8})}, r"num_groups=8 .* \[12\]"),
    ],
)
def test_invalid_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SegNet(**options)
