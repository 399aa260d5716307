from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from pu_unet_monai.networks.blocks import ProductUnit, ResidualBlock
from pu_unet_monai.networks.nets import PaddedUNet, PUUNet

from .base_tester import Abilities, NetworkCase, NetworkTester

# Counted by hand from the table in the design: 54,729 for the baseline, plus theta and biases.
NARROW = {"channels": (8, 16, 32)}

PLAIN = Abilities(checkpoint="the plain baseline of the reports, kept plain")

CASES = [
    NetworkCase("pu_unet_none", PUUNet, NARROW | {"placement": "none"}, parameters=54_729),
    NetworkCase("pu_unet_bottleneck", PUUNet, NARROW | {"placement": "bottleneck"}, parameters=54_762),
    NetworkCase("pu_unet_low_resolution", PUUNet, NARROW | {"placement": "low_resolution"}, parameters=54_821),
    NetworkCase("pu_unet_all", PUUNet, NARROW | {"placement": "all"}, parameters=54_864),
    NetworkCase("pu_unet_lower_bound", PUUNet, NARROW | {"positivity": "lower_bound"}, parameters=54_821),
    NetworkCase("pu_unet_no_clip", PUUNet, NARROW | {"log_clip": None}, parameters=54_821),
    NetworkCase(
        "pu_unet_3d",
        PUUNet,
        NARROW | {"spatial_dims": 3, "in_channels": 4, "out_channels": 3},
        parameters=158_271,
        size=(18, 20, 17),
        other_size=(20, 17, 22),
        in_channels=4,
        out_channels=3,
    ),
    NetworkCase(
        "padded_unet",
        PaddedUNet,
        {"channels": (4, 8, 16), "bottleneck_convs": 1},
        parameters=5_264,
        in_channels=4,
        out_channels=4,
        abilities=PLAIN,
    ),
    NetworkCase(
        "padded_unet_3d",
        PaddedUNet,
        {"spatial_dims": 3, "channels": (4, 8, 16), "out_channels": 3},
        parameters=21_771,
        size=(18, 20, 17),
        other_size=(20, 17, 22),
        in_channels=4,
        out_channels=3,
        abilities=PLAIN,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestNetworks(NetworkTester):
    pass


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"placement": "none"}, 14_391_201),
        ({}, 14_392_613),
        # One theta and one bias per output channel for each product unit, which replaces a convolution:
        ({"placement": "bottleneck"}, 14_391_201 + 512 + 1),
        ({"placement": "low_resolution"}, 14_391_201 + (512 + 1) + (512 + 1) + (256 + 1) + (128 + 1)),
        ({"placement": "all"}, 14_391_201 + 64 + 128 + 256 + 512 + 512 + 2 * (256 + 128 + 64 + 32) + 13),
    ],
    ids=["none", "default", "bottleneck", "low_resolution", "all"],
)
def test_parameters_of_the_paper(options: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        network = PUUNet(**options)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("placement", "size", "gflops"),
    [
        ("none", 352, 66.725),  # published: 66.725
        ("low_resolution", 352, 66.727),  # published: 66.727
        ("none", 256, 35.292),  # published: 35.292
        ("low_resolution", 256, 35.293),  # published: 35.294
    ],
)
def test_flops_of_the_paper(placement: str, size: int, gflops: float) -> None:
    """2 x multiply-adds of the convolutions, transposed ones left out, plus 1 per residual addition and PU bias."""
    flops = []

    def count(module: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            macs = output.numel() * module.in_channels // module.groups * math.prod(module.kernel_size)
            flops.append(2 * macs)
        else:
            flops.append(output.numel())

    with torch.device("meta"):
        network = PUUNet(placement=placement)
        for module in network.modules():
            if isinstance(module, nn.Conv2d | ResidualBlock | ProductUnit):
                module.register_forward_hook(count)
        network(torch.empty(1, 3, size, size))
    assert round(sum(flops) / 1e9, 3) == gflops


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        ("none", []),
        ("bottleneck", ["bottleneck"]),
        ("low_resolution", ["encoders.3", "bottleneck", "decoders.0.1", "decoders.1.1"]),
    ],
)
def test_placement(placement: str, expected: list[str]) -> None:
    network = PUUNet(channels=(8, 8, 8, 8, 16), placement=placement)
    names = [name.removesuffix(".conv2") for name, module in network.named_modules() if isinstance(module, ProductUnit)]
    assert names == expected


def test_placement_all_leaves_no_second_convolution() -> None:
    network = PUUNet(channels=(8, 8, 8, 8, 16), placement="all")
    blocks = [module for module in network.modules() if isinstance(module, ResidualBlock)]
    assert len(blocks) == 4 + 1 + 2 * 4
    assert all(isinstance(block.conv2, ProductUnit) for block in blocks)


def test_baseline_differs_from_pu_unet_in_the_product_units_alone() -> None:
    pu_unet = {k: v.shape for k, v in PUUNet(**NARROW).state_dict().items()}
    baseline = {k: v.shape for k, v in PUUNet(**NARROW, placement="none").state_dict().items()}
    added = {k for k in pu_unet if k.endswith(("conv2.theta", "conv2.conv.bias"))}
    renamed = {k.replace("conv2.conv.weight", "conv2.weight"): v for k, v in pu_unet.items() if k not in added}
    assert len(added) == 2 * 4
    assert renamed == baseline


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"placement": "low"}, "placement must be one of none, bottleneck, low_resolution, all, got 'low'"),
        ({"positivity": "relu"}, "positivity must be one of softplus, lower_bound, got 'relu'"),
        ({"channels": (8, 20, 32)}, r"num_groups=8 .* \[20\]"),
        ({"channels": (8,)}, r"at least 2 resolutions, got \[8\]"),
        ({"channels": (0, 8)}, r"\[0\]"),
        ({"spatial_dims": 1}, "spatial_dims must be 2 or 3, got 1"),
        ({"spatial_dims": 4}, "spatial_dims must be 2 or 3, got 4"),
        ({"log_clip": 0}, "log_clip must be positive, .* got 0"),
        ({"log_clip": -10.0}, "log_clip must be positive, .* got -10"),
    ],
)
def test_invalid_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PUUNet(**(NARROW | options))


@pytest.mark.parametrize(
    "options",
    [
        {"channels": (4, 12), "norm": ("GROUP", {"num_groups": 4})},
        {"channels": (6, 10), "norm": "BATCH"},
        {"channels": [8, 16], "norm": ["GROUP", {"num_groups": 8}], "act": "RELU"},  # lists, as JSON has them
    ],
    ids=["groups of 4", "batch norm", "lists"],
)
def test_other_norms(options: dict[str, Any]) -> None:
    assert PUUNet(**options)(torch.rand(2, 3, 8, 6)).shape == (2, 1, 8, 6)


def test_padding_replicates_the_edge() -> None:
    network = PUUNet(**NARROW).eval()
    x = torch.randn(1, 3, 13, 10, generator=torch.Generator().manual_seed(0))
    rows, columns = [*range(13), 12, 12, 12], [*range(10), 9, 9]
    with torch.no_grad():
        expected = network(x[:, :, rows][:, :, :, columns])[:, :, :13, :10]
        torch.testing.assert_close(network(x), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"bottleneck_convs": 1}, 5_403_108),  # the brain report's
        # As published with its weights:
        ({"in_channels": 3, "out_channels": 1}, 7_763_041),
    ],
    ids=["brain report", "Buda et al."],
)
def test_parameters_of_the_padded_unet(options: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        network = PaddedUNet(**options)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims must be 2 or 3, got 1"),
        ({"channels": (8,)}, r"at least 2 resolutions, got \[8\]"),
        ({"channels": (0, 8)}, r"widths must be at least 1, got \[0\]"),
        ({"bottleneck_convs": 0}, "bottleneck_convs must be at least 1, got 0"),
    ],
)
def test_invalid_options_of_the_padded_unet(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PaddedUNet(**({"channels": (4, 8)} | options))


def test_padded_unet_takes_lists_as_json_has_them() -> None:
    network = PaddedUNet(channels=[8, 16], norm=["GROUP", {"num_groups": 4}], act=["LEAKYRELU", {"inplace": True}])
    assert network(torch.rand(2, 4, 8, 6)).shape == (2, 4, 8, 6)
