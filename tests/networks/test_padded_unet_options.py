"""Upsampling and skip connections of the padded U-Net; the rest of its tests are in ``test_nets``."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pu_unet_monai.networks.nets import PaddedUNet

from .base_tester import Abilities, NetworkCase, NetworkTester

NARROW = {"channels": (4, 8, 16)}
PLAIN = Abilities(checkpoint="the plain baseline of the reports, kept plain")

# By hand, with 9 a b + 2 b parameters for a convolution of size 3 and its norm (27 for 9 in 3D), 4 channels in: the
# convolutions are 4-4-4, 4-8-8, 8-16-16, (16 + 8)-8-8, (8 + 4)-4-4; then the head.
CASES = [
    NetworkCase(
        "padded_unet_bilinear",
        PaddedUNet,
        NARROW | {"upsample": "bilinear"},
        parameters=7_668,
        in_channels=4,
        out_channels=4,
        abilities=PLAIN,
    ),
    NetworkCase(
        "padded_unet_bilinear_3d",
        PaddedUNet,
        NARROW | {"upsample": "bilinear", "spatial_dims": 3, "out_channels": 3},
        parameters=22_639,
        size=(18, 20, 17),
        other_size=(20, 17, 22),
        in_channels=4,
        out_channels=3,
        abilities=PLAIN,
    ),
    NetworkCase(
        "padded_unet_skips_off",
        PaddedUNet,
        NARROW | {"bottleneck_convs": 1, "skips_off": (2,)},
        parameters=5_264,  # as with all skips on
        in_channels=4,
        out_channels=4,
        abilities=PLAIN,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestPaddedUNet(NetworkTester):
    pass


def image(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


# From the one to the other, a decoder of f channels loses 4 (2 f) f + f of the up-convolution and gains 9 f f.
@pytest.mark.parametrize(("upsample", "parameters"), [("transposed", 31_036_546), ("bilinear", 31_383_746)])
def test_parameters_of_the_textbook(upsample: str, parameters: int) -> None:
    with torch.device("meta"):
        network = PaddedUNet(
            in_channels=1, out_channels=2, channels=(64, 128, 256, 512, 1024), bottleneck_convs=2, upsample=upsample
        )
    assert sum(p.numel() for p in network.parameters()) == parameters


def inputs_of_decoders(network: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """What each decoder gets, from coarse to fine."""
    found: list[torch.Tensor] = []
    hooks = [d.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0])) for d in network.decoders]
    with torch.no_grad():
        network.eval()(x)
    for hook in hooks:
        hook.remove()
    return found


def test_bilinear_upsampling_in_numbers() -> None:
    """Between two pixels 0 and 4, at a quarter and three quarters of the way."""
    up = PaddedUNet(**NARROW, upsample="bilinear").ups[0]
    assert up(torch.tensor([[[[0.0, 4.0]]]])).tolist() == [[[[0, 1, 3, 4]] * 2]]
    up = PaddedUNet(**NARROW, upsample="bilinear", spatial_dims=3).ups[0]
    assert up(torch.tensor([[[[[0.0, 4.0]]]]])).tolist() == [[[[[0, 1, 3, 4]] * 2] * 2]]


def test_bilinear_upsampling_has_no_weights_and_keeps_the_channels() -> None:
    network = PaddedUNet(**NARROW, upsample="bilinear")
    assert list(network.ups.parameters()) == []
    coarse, fine = inputs_of_decoders(network, image(1, 4, 8, 12))
    assert (coarse.shape, fine.shape) == ((1, 8 + 16, 4, 6), (1, 4 + 8, 8, 12))


@pytest.mark.parametrize("upsample", ["transposed", "bilinear"])
@pytest.mark.parametrize("skips_off", [(), (1,), (2,), (1, 2)], ids=str)
def test_skips_off(skips_off: tuple[int, ...], upsample: str) -> None:
    network = PaddedUNet(**NARROW, upsample=upsample, skips_off=skips_off)
    coarse, fine = inputs_of_decoders(network, image(1, 4, 8, 12))
    assert bool(fine[:, :4].any()) == (1 not in skips_off)
    assert bool(coarse[:, :8].any()) == (2 not in skips_off)
    assert coarse[:, 8:].any()  # what comes from below
    assert fine[:, 4:].any()


def test_trained_weights_can_be_ablated() -> None:
    """Zeros in place of a skip are zeros in place of the weights that take it."""
    whole, x = PaddedUNet(**NARROW).eval(), image(1, 4, 8, 12)
    ablated = PaddedUNet(**NARROW, skips_off=[1]).eval()
    ablated.load_state_dict(whole.state_dict())
    with torch.no_grad():
        assert (whole(x) - ablated(x)).abs().max() > 0.01
        whole.decoders[1][0].weight[:, :4] = 0
        torch.testing.assert_close(whole(x), ablated(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"upsample": "nearest"}, "upsample must be one of transposed, bilinear, got 'nearest'"),
        ({"skips_off": (0,)}, r"levels from 1 \(full resolution\) to 2, got \[0\]"),
        ({"skips_off": (1, 3)}, r"to 2, got \[1, 3\]"),
    ],
)
def test_invalid_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PaddedUNet(**NARROW, **options)
