from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pu_unet_monai.inferers import OverlapTileInferer
from pu_unet_monai.networks.nets import UNet3D

from .base_tester import Abilities, NetworkCase, NetworkTester, assert_close

NARROW = {"channels": (2, 4, 8, 16)}
PLAIN = "the network as published, kept plain"

# By hand: 27 a b + 3 b for a convolution from a to b channels with its norm, 8 a a for an up-convolution (9 and 4
# in 2D). The convolutions are 3-2-4, 4-4-8, 8-8-16, 24-8-8, 12-4-4, the up-convolutions of 16 and 8, the head 4-3.
CASES = [
    NetworkCase(
        "unet3d",
        UNet3D,
        NARROW,
        parameters=168 + 228 + 444 + 888 + 1_752 + 3_504 + 2_048 + 5_208 + 1_752 + 512 + 1_308 + 444 + 15,
        size=(18, 20, 17),
        other_size=(20, 17, 22),
        out_channels=3,
        abilities=Abilities(checkpoint=PLAIN),
    ),
    NetworkCase(
        "unet3d_valid",
        UNet3D,
        {"channels": (2, 4, 8), "valid": True},
        parameters=168 + 228 + 444 + 888 + 512 + 1_308 + 444 + 15,
        size=(18, 20, 22),
        other_size=(22, 18, 18),
        out_channels=3,
        abilities=Abilities(
            any_size="every pooling must meet an even size",
            same_size_output="convolutions without padding",
            checkpoint=PLAIN,
        ),
    ),
    NetworkCase(
        "unet3d_2d",
        UNet3D,
        NARROW | {"spatial_dims": 2},
        parameters=60 + 84 + 156 + 312 + 600 + 1_200 + 1_024 + 1_752 + 600 + 256 + 444 + 156 + 15,
        out_channels=3,
        abilities=Abilities(checkpoint=PLAIN),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestUNet3D(NetworkTester):
    pass


@pytest.mark.parametrize("valid", [False, True])
def test_parameters_of_the_paper(valid: bool) -> None:
    with torch.device("meta"):
        network = UNet3D(valid=valid)
    norms = sum(p.numel() for m in network.modules() if isinstance(m, nn.BatchNorm3d) for p in m.parameters())
    assert sum(p.numel() for p in network.parameters()) - norms == 19_069_955
    assert norms == 2 * (32 + 64 + 64 + 128 + 128 + 256 + 256 + 512 + 2 * (256 + 128 + 64))


def test_sizes_of_the_paper() -> None:
    """Figure 2: 132 x 132 x 116 to 44 x 44 x 28; channels double before the pooling, up-convolutions keep them."""
    with torch.device("meta"):
        network = UNet3D(valid=True)
        shapes: list[tuple[int, ...]] = []
        for layer in (*network.encoders, network.bottleneck, *network.ups, *network.decoders, network.head):
            layer.register_forward_hook(lambda _, __, y: shapes.append(tuple(y.shape[1:])))
        network(torch.empty(1, 3, 132, 132, 116))
    assert shapes == [
        (64, 128, 128, 112),
        (128, 60, 60, 52),
        (256, 26, 26, 22),
        (512, 9, 9, 7),
        (512, 18, 18, 14),
        (256, 14, 14, 10),
        (256, 28, 28, 20),
        (128, 24, 24, 16),
        (128, 48, 48, 32),
        (64, 44, 44, 28),
        (3, 44, 44, 28),
    ]
    assert (network.margin, network.tile_margin, network.stride) == (44, 46, 8)


def test_first_convolutions_of_each_resolution() -> None:
    with torch.device("meta"):
        network = UNet3D()
    convolutions = [(m.in_channels, m.out_channels) for m in network.modules() if isinstance(m, nn.Conv3d)]
    down = [(3, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512)]
    assert convolutions[:8] == down
    assert convolutions[8:] == [(768, 256), (256, 256), (384, 128), (128, 128), (192, 64), (64, 64), (64, 3)]


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((132, 132, 117), r"\[132, 132, 117\] does not fit .* of 117 the nearest that fits is 116 and 124\."),
        ((132, 84, 116), r"of 84 the nearest that fits is 92, the smallest\."),
    ],
)
def test_sizes_that_do_not_fit(size: tuple[int, ...], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        UNet3D(valid=True)(torch.empty(1, 3, *size))


@torch.no_grad()
def test_tiles_are_the_image_in_one_pass() -> None:
    """In evaluation mode, where batch normalisation does the same everywhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet3D(channels=(2, 4, 8), valid=True).eval()
    assert network.tile_margin == 8
    x = torch.randn(1, 3, 10, 8, 6, generator=torch.Generator().manual_seed(0))
    whole = network(nn.functional.pad(x, [8] * 6))
    for window in (18, (20, 24, 18)):
        assert_close(OverlapTileInferer(window, 8, padding_mode="constant")(x, network), whole, 1e-5)


def test_valid_and_padded_convolutions_share_weights() -> None:
    """Far from the edges they compute the same."""
    padded, valid = UNet3D(channels=(2, 4, 8)).eval(), UNet3D(channels=(2, 4, 8), valid=True).eval()
    valid.load_state_dict(padded.state_dict())
    x = torch.randn(1, 3, 20, 18, 22, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert_close(valid(x), padded(x)[:, :, 8:-8, 8:-8, 8:-8], 1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims must be 2 or 3, got 1"),
        ({"channels": (4, 8)}, r"first convolution and of at least 2 resolutions, got \[4, 8\]"),
        ({"channels": (4, 8, 0)}, r"widths must be at least 1, got \[0\]"),
        ({"channels": (4, 8, 12), "norm": ("GROUP", {"num_groups": 8})}, r"num_groups=8 .* \[4, 12\]"),
    ],
)
def test_invalid_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNet3D(**options)
