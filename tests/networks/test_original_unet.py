from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pu_unet_monai.inferers import OverlapTileInferer
from pu_unet_monai.networks.blocks.network_input import mirror
from pu_unet_monai.networks.blocks.valid_convolutions import center_crop
from pu_unet_monai.networks.nets import OriginalUNet

from .base_tester import Abilities, NetworkCase, NetworkTester, assert_close

NARROW = {"channels": (4, 8, 16)}
PLAIN = "the network as published, kept plain"
VALID = Abilities(
    any_size="every pooling must meet an even size",
    same_size_output="convolutions without padding",
    checkpoint=PLAIN,
)

# By hand: 9 a b + b for a convolution from a to b channels, 4 a b + b for an up-convolution (27 and 8 in 3D). The
# convolutions are 1-4-4, 4-8-8, 8-16-16, 16-8-8, 8-4-4, the up-convolutions 16-8 and 8-4, the head 4-2.
CASES = [
    NetworkCase(
        "original_unet",
        OriginalUNet,
        NARROW,
        parameters=188 + 880 + 3_488 + 520 + 1_744 + 132 + 440 + 10,
        size=(48, 44),
        other_size=(52, 60),
        in_channels=1,
        out_channels=2,
        abilities=VALID,
    ),
    NetworkCase(
        "original_unet_same_size",
        OriginalUNet,
        NARROW | {"same_size": True},
        parameters=7_402,
        in_channels=1,
        out_channels=2,
        abilities=Abilities(checkpoint=PLAIN),
    ),
    NetworkCase(
        "original_unet_3d",
        OriginalUNet,
        {"spatial_dims": 3, "channels": (4, 8), "out_channels": 3, "same_size": True},
        parameters=112 + 436 + 872 + 1_736 + 260 + 868 + 436 + 15,
        size=(18, 20, 17),
        other_size=(20, 17, 22),
        in_channels=1,
        out_channels=3,
        abilities=Abilities(checkpoint=PLAIN),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestOriginalUNet(NetworkTester):
    pass


def create(**options: Any) -> OriginalUNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return OriginalUNet(**(NARROW | options)).eval()


def image(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_the_paper() -> None:
    """The sizes of figure 1, and the parameters, by hand:

    down 37,568 + 221,440 + 885,248 + 3,539,968 + 14,157,824, up-convolutions 2,097,664 + 524,544 + 131,200 + 32,832,
    up 7,078,912 + 1,769,984 + 442,624 + 110,720, head 130.
    """
    with torch.device("meta"):
        network = OriginalUNet()
        shapes: list[tuple[int, ...]] = []
        for layer in (*network.encoders, network.bottleneck, *network.decoders, network.head):
            layer.register_forward_hook(lambda _, __, y: shapes.append(tuple(y.shape[1:])))
        network(torch.empty(1, 1, 572, 572))
    assert shapes == [
        (64, 568, 568),
        (128, 280, 280),
        (256, 136, 136),
        (512, 64, 64),
        (1024, 28, 28),
        (512, 52, 52),
        (256, 100, 100),
        (128, 196, 196),
        (64, 388, 388),
        (2, 388, 388),
    ]
    assert sum(p.numel() for p in network.parameters()) == 31_030_658
    assert (network.margin, network.tile_margin, network.stride) == (92, 94, 16)


@pytest.mark.parametrize("levels", [2, 3, 4, 5])
def test_sizes_that_fit(levels: int) -> None:
    """All sizes up to a limit, with the poolings and convolutions counted one after the other."""

    def output_size(s: int) -> int | None:
        for _ in range(levels - 1):
            s -= 4
            if s <= 0 or s % 2:
                return None
            s //= 2
        s -= 4
        for _ in range(levels - 1):
            s = 2 * s - 4
        return s if s > 0 else None

    with torch.device("meta"):
        network = OriginalUNet(channels=[1] * levels)
    stride = 2 ** (levels - 1)
    taken = {}
    for s in range(1, 14 * stride + 40):
        try:
            taken[s] = network(torch.empty(1, 1, s, 14 * stride - 4, device="meta")).shape[2]
        except ValueError:
            continue
    expected = {s: output_size(s) for s in range(1, 14 * stride + 40) if output_size(s)}
    assert taken == expected
    assert all(s - 2 * network.margin == y for s, y in taken.items())
    assert all((s - 2 * network.tile_margin) % stride == 0 for s in taken)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (
            (572, 573),
            r"\[572, 573\] does not fit .* a multiple of 16, and of 573 the nearest that fits is 572 and 588\.",
        ),
        ((571, 572), r"\[571, 572\] .* of 571 the nearest that fits is 556 and 572\."),
        ((172, 572), r"\[172, 572\] .* of 172 the nearest that fits is 188, the smallest\."),
        ((5, 572), r"\[5, 572\] .* of 5 the nearest that fits is 188, the smallest\."),
    ],
)
def test_sizes_that_do_not_fit(size: tuple[int, int], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        OriginalUNet()(torch.empty(1, 1, *size))


@pytest.mark.parametrize("channels", [(4, 8), (4, 8, 16), (2, 4, 6, 8)], ids=str)
@pytest.mark.parametrize("size", [(50, 61), (16, 7)], ids=str)
@torch.no_grad()
def test_tiles_are_the_mirrored_image_in_one_pass(channels: tuple[int, ...], size: tuple[int, int]) -> None:
    network, whole = create(channels=channels), create(channels=channels, same_size=True)
    x, margin = image(2, 1, *size), network.tile_margin
    expected = whole(x)
    # one pass of the network itself, over the image mirrored by NumPy
    after = [2 * margin + -(s + 3 * margin + 4) % network.stride for s in size]
    widths = [(0, 0), (0, 0), *((margin, a) for a in after)]
    y = network(torch.from_numpy(np.pad(x.numpy(), widths, mode="reflect")))
    cut = margin - network.margin
    assert_close(expected, y[..., cut : cut + size[0], cut : cut + size[1]], 1e-5)
    # and tiles, of two sizes
    for cores in (2, 3):
        inferer = OverlapTileInferer(2 * margin + cores * network.stride, margin)
        assert_close(inferer(x, network), expected, 1e-5)


@torch.no_grad()
def test_tiles_of_the_paper_have_seams() -> None:
    """Cores that are no multiple of the stride: the same network, but other pixels pooled together."""
    network = create(channels=(2, 4, 6, 8))
    x, roi_size = image(1, 1, 50, 61), 2 * network.margin + 12
    assert (network.margin, network.tile_margin) == (44, 46)
    tiled = OverlapTileInferer(roi_size, network.margin)(x, network)
    assert tiled.shape == (1, 2, 50, 61)
    assert (tiled - create(channels=(2, 4, 6, 8), same_size=True)(x)).abs().max() > 0.01


@given(size=st.integers(1, 12), before=st.integers(0, 40), after=st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_mirror(size: int, before: int, after: int) -> None:
    x = torch.arange(2.0 * size).reshape(1, 1, size, 2)
    expected = np.pad(x.numpy(), [(0, 0), (0, 0), (before, after), (0, 0)], mode="reflect")
    assert torch.equal(mirror(x, 2, before, after), torch.from_numpy(expected))


def test_center_crop() -> None:
    x = torch.arange(6 * 9.0).reshape(1, 1, 6, 9)
    assert torch.equal(center_crop(x, torch.empty(1, 5, 2, 5)), x[:, :, 2:4, 2:7])


def test_initial_weights() -> None:
    network = create(channels=(32, 64, 64))
    for layer, inputs in (
        (network.encoders[1][2], 64 * 9),
        (network.decoders[0][0], 128 * 9),
        (network.ups[0], 64),
    ):
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / inputs), rel=0.05)
        assert layer.weight.mean().abs() < 0.05 * layer.weight.std()
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(layers) == 6 + 4 + 2 + 1
    assert not any(layer.bias.any() for layer in layers)


def test_dropout_is_at_the_two_lowest_resolutions() -> None:
    names = [name for name, module in create().named_modules() if isinstance(module, nn.Dropout)]
    assert names == ["encoders.1.4", "bottleneck.4"]
    assert [m.p for m in create(dropout=0.3).modules() if isinstance(m, nn.Dropout)] == [0.3, 0.3]
    assert not any(isinstance(module, nn.Dropout) for module in create(dropout=0).modules())
    x, network = image(1, 1, 44, 44), create().train()
    assert not torch.equal(network(x), network(x))
    assert torch.equal(network.eval()(x), network(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims must be 2 or 3, got 1"),
        ({"channels": (8,)}, r"at least 2 resolutions, got \[8\]"),
        ({"channels": (0, 8)}, r"channels \[0, 8\]: widths must be at least 1, got \[0\]"),
        ({"dropout": 1.0}, "dropout must be 0 or more and less than 1, got 1.0"),
        ({"dropout": -0.1}, "got -0.1"),
    ],
)
def test_invalid_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OriginalUNet(**(NARROW | options))
