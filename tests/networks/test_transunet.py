from __future__ import annotations

from typing import Any

import pytest
import torch

from pu_unet_monai.networks.nets import TransUNet

from .base_tester import Abilities, NetworkCase, NetworkTester

TINY: dict[str, Any] = {
    "channels": (4, 4, 8, 8, 16),
    "blocks": (1, 1, 2),
    "hidden_size": 12,
    "num_layers": 2,
    "num_heads": 3,
    "mlp_dim": 16,
    "image_size": 40,
    "norm": ("GROUP", {"num_groups": 2}),
}
PLAIN = Abilities(checkpoint="the network as published, kept plain")


def count(
    channels: tuple[int, ...],
    blocks: tuple[int, ...],
    hidden: int,
    layers: int,
    mlp: int,
    tokens: int,
    spatial_dims: int = 2,
    in_channels: int = 3,
) -> dict[str, int]:
    """Parameters by hand, for one output channel; a norm has two a channel."""
    full, half, *coarser = channels
    cube = 3**spatial_dims
    stages, before = 0, half
    for width, number in zip(coarser, blocks, strict=True):
        inside, out = width // 2, 2 * width
        convs = cube * inside**2 + inside * out  # the last two of a block
        norms = 2 * (2 * inside + out)
        stages += before * inside + before * out + 2 * out + (number - 1) * out * inside + number * (convs + norms)
        before = out
    attention = 3 * hidden**2 + 3 * hidden + hidden**2 + hidden
    block = attention + hidden * mlp + mlp + mlp * hidden + hidden + 2 * 2 * hidden
    decoder = cube * hidden * coarser[2] + 2 * coarser[2]
    into = [coarser[2] + 2 * coarser[1], coarser[1] + 2 * coarser[0], coarser[0] + half, half]
    for wide, width in zip(into, (coarser[1], coarser[0], half, full), strict=True):
        decoder += cube * (wide * width + width**2) + 2 * 2 * width
    return {
        "stem": 7**spatial_dims * in_channels * half + 2 * half,
        "stages": stages,
        "embedding": before * hidden + hidden + tokens * hidden,
        "transformer": layers * block + 2 * hidden,
        "decoder": decoder,
        "head": cube * full + 1,
    }


HAND = (TINY["channels"], TINY["blocks"], 12, 2, 16)

CASES = [
    NetworkCase("transunet", TransUNet, TINY, sum(count(*HAND, tokens=9).values()), abilities=PLAIN),
    NetworkCase(
        "transunet_3d",
        TransUNet,
        TINY
        | {
            "spatial_dims": 3,
            "image_size": (16, 32, 48),
            "in_channels": 2,
            "decoder_norm": ("GROUP", {"num_groups": 2}),
        },
        sum(count(*HAND, tokens=6, spatial_dims=3, in_channels=2).values()),
        size=(18, 20, 17),
        other_size=(20, 17, 22),
        in_channels=2,
        abilities=PLAIN,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestNetworks(NetworkTester):
    pass


def test_parameters_of_r50_vit_b_16() -> None:
    expected = count((16, 64, 128, 256, 512), (3, 4, 9), 768, 12, 3072, tokens=14 * 14)
    with torch.device("meta"):
        network = TransUNet()
    assert sum(p.numel() for p in network.parameters()) == sum(expected.values()) == 105_275_921
    # a ViT-B's blocks and its last norm
    assert expected["transformer"] == 12 * 7_087_872 + 1_536
    # a ResNet-50's first three stages of 3, 4 and 6 blocks, and 3 more in the third
    assert expected["stages"] == 215_808 + 1_219_584 + 7_098_368 + 3 * 1_117_184


@torch.no_grad()
def test_resolutions_of_the_encoder() -> None:
    with torch.device("meta"):
        network = TransUNet()
        shapes = []
        for stage in (network.stem, *network.stages, network.bottleneck):
            stage.register_forward_hook(lambda *call: shapes.append(tuple(call[2].shape[1:])))
        network(torch.empty(1, 3, 224, 224))
    assert shapes == [(64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (512, 14, 14)]


@torch.no_grad()
def test_tokens_are_the_pixels_in_their_places() -> None:
    """Without positions attention does not know an order, so mixing up the pixels mixes up the output alike."""
    network = TransUNet(**TINY).eval()
    network.position.zero_()
    x = torch.randn(2, 32, 3, 5, generator=torch.Generator().manual_seed(0))
    rows, columns = torch.tensor([2, 0, 1]), torch.tensor([3, 1, 4, 0, 2])
    expected = network._transform(x)[:, :, rows][..., columns]
    torch.testing.assert_close(network._transform(x[:, :, rows][..., columns]), expected)
    torch.nn.init.normal_(network.position)
    expected = network._transform(x)[:, :, rows][..., columns]
    assert not torch.allclose(network._transform(x[:, :, rows][..., columns]), expected, atol=1e-2)


@torch.no_grad()
def test_position_embedding() -> None:
    """As it was learned at its own size, between its values at others."""
    network = TransUNet(**(TINY | {"num_layers": 0, "image_size": (48, 32)})).eval()
    assert network.position.shape == (1, 12, 3, 2)
    network.embedding.weight.zero_()
    network.embedding.bias.zero_()
    network.norm = torch.nn.Identity()
    found = network._transform(torch.zeros(1, 32, 3, 2))
    torch.testing.assert_close(found, network.position, rtol=0, atol=0)
    # four pixels instead of two: their middles lie at -1/4, 1/4, 3/4 and 5/4 of the two, the outer ones are held
    found = network._transform(torch.zeros(1, 32, 3, 4))
    left, right = network.position[..., 0], network.position[..., 1]
    expected = torch.stack([left, 0.75 * left + 0.25 * right, 0.25 * left + 0.75 * right, right], -1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims must be 2 or 3, got 1"),
        ({"channels": (8, 16)}, r"for 5 resolutions, full to 1/16, got \[8, 16\]"),
        ({"channels": (4, 4, 8, 9, 16)}, r"must be even, .* got \[9\]"),
        ({"channels": (4, 4, 8, 0, 16)}, r"\[0\]"),
        ({"channels": (4, 4, 8, 8, 18), "norm": ("GROUP", {"num_groups": 4})}, r"num_groups=4 .* \[9\]"),
        ({"decoder_norm": ("GROUP", {"num_groups": 8})}, r"num_groups=8 .* \[4, 4\]"),
        ({"blocks": (1, 1)}, r"for each of 3 stages, got \[1, 1\]"),
        ({"blocks": (1, 0, 1)}, r"at least 1 block .* got \[1, 0, 1\]"),
        ({"num_heads": 5}, "num_heads must divide hidden_size=12, got 5"),
        ({"image_size": 0}, "image_size must be positive, got 0"),
    ],
)
def test_invalid_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransUNet(**(TINY | options))
