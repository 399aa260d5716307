from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, group_norm, relu

from pu_unet_monai.networks.blocks import AttentionGate, RecurrentBlock, RecurrentConv
from pu_unet_monai.networks.nets import PaddedUNet, R2UNet

from .base_tester import NetworkCase, NetworkTester

NARROW = {"channels": (8, 16, 32)}
GATED = NARROW | {"attention": True, "norm": ("GROUP", {"num_groups": 4})}
VOLUMES = {
    "size": (18, 20, 17),
    "other_size": (20, 17, 22),
    "in_channels": 4,
    "out_channels": 3,
}

# By hand: a block from a to b channels has a b + b + 2 (9 b b + 2 b) parameters, 27 for 9 in 3D; the blocks are
# 3-8, 8-16, 16-32, 32-16, 16-8; up-convolutions of 2,064 and 520, a head of 9. Second kernels add 2 x 9 b b a block;
# a gate of c channels has 2 c c/2 weights, 4 c/2 of the norms and c/2 + 1: 297 and 85.
CASES = [
    NetworkCase("r2_unet", R2UNet, NARROW, parameters=34_249),
    NetworkCase("r2_unet_separate", R2UNet, NARROW | {"separate_recurrent": True}, parameters=64_201),
    # 30 convolutions one after the other, and nothing that passes by them: roundings add up.
    NetworkCase("ru_unet", R2UNet, NARROW | {"residual": False}, parameters=34_249, autocast_tolerance=0.1),
    NetworkCase("r2_unet_attention", R2UNet, GATED, parameters=34_631),
    NetworkCase(
        "r2_unet_3d",
        R2UNet,
        GATED | {"spatial_dims": 3, "in_channels": 4, "out_channels": 3, "separate_recurrent": True},
        parameters=186_977,
        **VOLUMES,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestR2UNet(NetworkTester):
    pass


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def image(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, (8_904_481, 35_601_985)),
        ({"attention": True}, (8_992_725, 35_952_549)),
        ({"separate_recurrent": True}, (16_756_513, 67_010_113)),
        ({"separate_recurrent": True, "attention": True}, (16_844_757, 67_360_677)),
    ],
    ids=["one kernel", "one kernel, attention", "two kernels", "two kernels, attention"],
)
def test_parameters_of_the_docstring(options: dict[str, Any], parameters: tuple[int, int]) -> None:
    with torch.device("meta"):
        for base, expected in zip((32, 64), parameters, strict=True):
            channels = tuple(base * 2**level for level in range(5))
            assert count(R2UNet(channels=channels, **options)) == expected


def test_parameters_of_the_u_net_beside_it() -> None:
    with torch.device("meta"):
        for channels, expected in (((32, 64, 128, 256, 512), 7_763_041), ((64, 128, 256, 512, 1024), 31_037_633)):
            assert count(PaddedUNet(in_channels=3, out_channels=1, channels=channels)) == expected


@pytest.mark.parametrize("separate_recurrent", [False, True])
def test_parameters_do_not_depend_on_t(separate_recurrent: bool) -> None:
    networks = [R2UNet(**NARROW, t=t, separate_recurrent=separate_recurrent) for t in (1, 2, 3)]
    assert len({count(network) for network in networks}) == 1
    for network in networks:  # so weights of one t fit another
        networks[0].load_state_dict(network.state_dict())


@pytest.mark.parametrize("t", [1, 2, 3])
@pytest.mark.parametrize("separate_recurrent", [False, True], ids=["one kernel", "two kernels"])
def test_recurrence(t: int, separate_recurrent: bool) -> None:
    """The steps written out one after the other."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = RecurrentConv(2, 8, t, separate_recurrent, norm=("GROUP", {"num_groups": 4}))
        nn.init.normal_(layer.norm.weight)
        nn.init.normal_(layer.norm.bias)
    x = image(2, 8, 5, 6)

    def step(s: torch.Tensor) -> torch.Tensor:
        return relu(group_norm(s, 4, layer.norm.weight, layer.norm.bias))

    def forward(s: torch.Tensor) -> torch.Tensor:
        return conv2d(s, layer.conv.weight, padding=1)

    def next_state(h: torch.Tensor) -> torch.Tensor:
        if layer.recurrent is not None:
            return step(forward(x) + conv2d(h, layer.recurrent.weight, padding=1))
        return step(forward(x + h))

    with torch.no_grad():
        states = list(itertools.accumulate(range(t), lambda h, _: next_state(h), initial=step(forward(x))))
        torch.testing.assert_close(layer(x), states[t], rtol=0, atol=1e-5)
        assert (layer(x) - states[t - 1]).abs().max() > 0.1


def test_recurrence_in_numbers() -> None:
    """One pixel, weight 1/2, no norm: x = 4 gives 2, then 3 with one kernel; with a second of 1/4, 5/2 and 21/8."""
    one = RecurrentConv(1, 1, t=1, norm=("LAYER", {"normalized_shape": 1}))
    one.norm = nn.Identity()
    two = RecurrentConv(1, 1, t=2, separate_recurrent=True, norm=("LAYER", {"normalized_shape": 1}))
    two.norm = nn.Identity()
    for kernel, weight in ((one.conv, 0.5), (two.conv, 0.5), (two.recurrent, 0.25)):
        nn.init.zeros_(kernel.weight)
        kernel.weight.data[0, 0, 1] = weight
    x = torch.full((1, 1, 1), 4.0)
    assert one(x).item() == 3
    assert two(x).item() == 2.625
    assert one(-x).item() == 0


@pytest.mark.parametrize("residual", [True, False])
def test_residual_connection(residual: bool) -> None:
    block, x = RecurrentBlock(2, 3, 8, residual=residual), image(2, 3, 5, 6)
    with torch.no_grad():
        for layer in block.layers:  # layers that give nothing
            nn.init.zeros_(layer.norm.weight)
            nn.init.zeros_(layer.norm.bias)
        assert torch.equal(block(x), block.conv1x1(x) * residual)


def test_residual_option_reaches_every_block() -> None:
    for residual in (True, False):
        blocks = [m for m in R2UNet(**NARROW, residual=residual).modules() if isinstance(m, RecurrentBlock)]
        assert [block.residual for block in blocks] == [residual] * 5


def test_t_reaches_every_layer() -> None:
    layers = [module for module in R2UNet(**NARROW, t=3).modules() if isinstance(module, RecurrentConv)]
    assert [layer.t for layer in layers] == [3] * 10


def test_attention_gate_in_numbers() -> None:
    """One channel: hidden = relu(2 g - x), psi = 3 hidden - 1."""
    gate = AttentionGate(2, 1, 1, 1, norm="INSTANCE")
    gate.gate_norm = gate.skip_norm = nn.Identity()
    for parameter, value in ((gate.gate_conv.weight, 2), (gate.skip_conv.weight, -1), (gate.psi.weight, 3)):
        nn.init.constant_(parameter, value)
    nn.init.constant_(gate.psi.bias, -1)
    g, x = torch.tensor([[[[1.0, 1.0, 0.5]]]]), torch.tensor([[[[1.0, 5.0, 0.5]]]])
    # hidden: 1, 0 (from -3), 1/2; psi: 2, -1, 1/2
    expected = [x / (1 + math.exp(-psi)) for x, psi in ((1, 2), (5, -1), (0.5, 0.5))]
    assert gate(g, x).flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_attention_gate() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        gate = AttentionGate(2, 6, 4, 8, norm=("GROUP", {"num_groups": 2}))
    g, x = image(2, 6, 5, 7), image(2, 4, 5, 7)
    with torch.no_grad():
        a = group_norm(torch.einsum("hc,bcij->bhij", gate.gate_conv.weight[:, :, 0, 0], g), 2)
        b = group_norm(torch.einsum("hc,bcij->bhij", gate.skip_conv.weight[:, :, 0, 0], x), 2)
        psi = torch.einsum("h,bhij->bij", gate.psi.weight[0, :, 0, 0], relu(a + b)) + gate.psi.bias
        torch.testing.assert_close(gate(g, x), psi.sigmoid()[:, None] * x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("is_open", [True, False])
def test_attention_gates_are_on_the_skips(is_open: bool) -> None:
    """Open gates let the encoders' outputs through, closed ones nothing of them."""
    network = R2UNet(**GATED).eval()
    gates = [module for module in network.modules() if isinstance(module, AttentionGate)]
    assert [gate.skip_conv.in_channels for gate in gates] == [16, 8]
    encoded: list[torch.Tensor] = []
    decoded: list[torch.Tensor] = []
    with torch.no_grad():
        for gate in gates:
            nn.init.zeros_(gate.psi.weight)
            nn.init.constant_(gate.psi.bias, 200 if is_open else -200)
        for encoder in network.encoders:
            encoder.register_forward_hook(lambda _, __, y: encoded.append(y))
        for decoder in network.decoders:
            decoder.block.register_forward_pre_hook(lambda _, inputs: decoded.append(inputs[0]))
        network(image(1, 3, 16, 12))
    for skip, x in zip(reversed(encoded), decoded, strict=True):
        gated, up = x.chunk(2, dim=1)
        assert torch.equal(gated, skip * is_open)
        assert up.any()


def test_no_gates_by_default() -> None:
    assert not any(isinstance(module, AttentionGate) for module in R2UNet(**NARROW).modules())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"t": 0}, "t must be at least 1, the number of recurrent applications, got 0"),
        ({"channels": (8, 20, 32)}, r"num_groups=8 .* \[20\]"),
        ({"channels": (8,)}, r"at least 2 resolutions, got \[8\]"),
        ({"spatial_dims": 1}, "spatial_dims must be 2 or 3, got 1"),
        ({"channels": (8, 16, 8), "attention": True}, r"half of \[8\]: choose multiples of 16"),
        ({"channels": (1, 8), "norm": "BATCH", "attention": True}, r"half of \[1\]: choose multiples of 2"),
    ],
)
def test_invalid_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        R2UNet(**(NARROW | options))


def test_options_as_json_has_them() -> None:
    network = R2UNet(channels=[8, 16], norm=["GROUP", {"num_groups": 4}], act=["LEAKYRELU", {"inplace": True}])
    assert network(image(2, 3, 9, 7)).shape == (2, 1, 9, 7)
    layers = [module for module in network.modules() if isinstance(module, RecurrentConv)]
    assert all(isinstance(layer.act, nn.LeakyReLU) and layer.norm.num_groups == 4 for layer in layers)
