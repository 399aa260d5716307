from __future__ import annotations

import pytest
import torch
from monai.inferers import SliceInferer, SlidingWindowInferer
from torch import nn

from pu_unet_monai.inferers import CPUBFloat16Inferer, bfloat16


class Network(nn.Module):
    """A convolution that notes the precision of its output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1)
        self.computed: list[torch.dtype] = []

    def forward(self, x: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
        y = self.conv(x) * factor
        self.computed.append(y.dtype)
        return y


@pytest.fixture(params=[True, False], ids=["with units", "without units"])
def units(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the CPU has bfloat16 units."""
    monkeypatch.setattr(bfloat16, "cpu_is_fast_in_bfloat16", lambda: request.param)
    return request.param


@pytest.mark.parametrize("enabled", [True, False], ids=["enabled", "disabled"])
def test_precision(units: bool, enabled: bool) -> None:
    network, x = Network(), torch.randn(2, 2, 8, 8)
    expected = network(x)
    y = CPUBFloat16Inferer(enabled=enabled)(x, network)
    low = units and enabled
    assert network.computed == [torch.float32, torch.bfloat16 if low else torch.float32]
    assert y.dtype == torch.float32
    assert torch.equal(y, expected) != low
    torch.testing.assert_close(y, expected, rtol=0.02, atol=0.02)
    assert not torch.is_autocast_enabled("cpu")


def test_trains_float32_weights(units: bool) -> None:
    network = Network()
    CPUBFloat16Inferer()(torch.randn(1, 2, 8, 8), network).square().mean().backward()
    for parameter in network.parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        assert parameter.grad.any()


def test_around_another_inferer(units: bool) -> None:
    network, x = Network(), torch.randn(1, 2, 20, 24)
    inferer = CPUBFloat16Inferer(SlidingWindowInferer(roi_size=16, sw_batch_size=2))
    y = inferer(x, network)
    assert y.dtype == torch.float32
    assert y.shape == (1, 1, 20, 24)
    assert network.computed == 2 * [torch.bfloat16 if units else torch.float32]  # 4 windows, 2 at a time


def test_passes_arguments_on(units: bool) -> None:
    network, x = Network(), torch.randn(1, 2, 8, 8)
    inferer = CPUBFloat16Inferer()
    torch.testing.assert_close(inferer(x, network, 4.0), 4 * inferer(x, network))
    torch.testing.assert_close(inferer(x, network, factor=4.0), 4 * inferer(x, network))


def test_leaves_other_devices_alone(units: bool) -> None:
    network = Network().to("meta")
    y = CPUBFloat16Inferer()(torch.empty(1, 2, 8, 8, device="meta"), network)
    assert y.device.type == "meta"
    assert network.computed == [torch.float32]


@pytest.mark.parametrize(("convolution", "size"), [(nn.Conv2d, (1, 2, 8, 8)), (nn.Conv3d, (1, 2, 8, 8, 8))])
def test_lays_weights_out_channels_last_where_it_computes_in_bfloat16(units, convolution, size) -> None:
    network = convolution(2, 3, 3)
    layout = torch.channels_last if len(size) == 4 else torch.channels_last_3d
    CPUBFloat16Inferer()(torch.randn(size), network)
    assert network.weight.is_contiguous(memory_format=layout) == units


def test_network_of_slices_in_an_inferer_of_volumes(units) -> None:
    network = nn.Conv2d(2, 1, 3, padding=1)
    inferer = CPUBFloat16Inferer(SliceInferer(roi_size=(8, 8), spatial_dim=2))
    assert inferer(torch.randn(1, 2, 8, 8, 3), network).shape == (1, 1, 8, 8, 3)
