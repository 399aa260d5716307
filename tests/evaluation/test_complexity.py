from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from pu_unet_monai.evaluation.complexity import (
    count_macs,
    count_paper_flops,
    count_parameters,
    count_training_bytes,
    time_alternately,
)
from pu_unet_monai.networks.blocks import ProductUnit, ResidualBlock
from pu_unet_monai.networks.nets import PUUNet


def test_worked_convolution():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ConvTranspose2d(8, 4, 2, stride=2))
    network[0].bias.requires_grad_(False)
    assert count_parameters(network) == 3 * 8 * 9 + (8 * 4 * 4 + 4)
    # each output of the first has 3 * 9 products; each input of the second is multiplied into 2 x 2 x 4 outputs
    assert count_macs(network, (2, 3, 10, 12)) == 2 * 10 * 12 * (8 * 3 * 9 + 8 * 4 * 4)


@pytest.mark.parametrize(
    ("placement", "size", "published"),
    [("none", 352, 66.725), ("low_resolution", 352, 66.727), ("none", 256, 35.292), ("low_resolution", 256, 35.293)],
)
def test_flops_of_the_paper(placement: str, size: int, published: float) -> None:
    """Its table 1 has 35.294 for the last."""
    assert round(count_paper_flops(PUUNet(placement=placement), (1, 3, size, size)) / 1e9, 3) == published


def test_worked_flops_of_the_paper() -> None:
    """Of two residual blocks the second adds its input as it is, and multiplies in its product unit."""
    network = nn.Sequential(
        ResidualBlock(2, 3, 8), nn.ConvTranspose2d(8, 8, 2, stride=2), ResidualBlock(2, 8, 8, product_unit=True)
    )
    first = 2 * (3 * 9 + 8 * 9 + 3) + 1
    second = 2 * (8 * 9 + 8 * 9) + 2
    assert count_paper_flops(network, (2, 3, 5, 7)) == 2 * 8 * (5 * 7 * first + 10 * 14 * second)
    without_bias = ProductUnit(2, 4, 6, kernel_size=1, bias=False)
    assert count_paper_flops(without_bias, (1, 4, 5, 7)) == 2 * 4 * 6 * 5 * 7


def test_torch_counts_transposed_convolutions_too() -> None:
    """Twice the multiply-adds of a PU-UNet are the paper's FLOPs, plus its transposed ones, minus its additions."""
    network, size = PUUNet(channels=(8, 16, 24)), 32
    transposed = 4 * (16 * 8 * 16**2 + 24 * 16 * 8**2)
    residual = 16 * 16**2 + 24 * 8**2 + 24 * 8**2 + 2 * 16 * 16**2 + 2 * 8 * 32**2
    product_units = 24 * 8**2 + 24 * 8**2 + 16 * 16**2 + 8 * 32**2
    found = count_paper_flops(network, (1, 3, size, size))
    assert found == 2 * (count_macs(network, (1, 3, size, size)) - transposed) + residual + product_units


def test_network_stays_as_it_is():
    network = PUUNet(channels=(8, 16)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    count_macs(network, (1, 3, 8, 8))
    count_paper_flops(network, (1, 3, 8, 8))
    count_training_bytes(network, (1, 3, 8, 8), torch.device("cpu"), amp=True)
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    assert all(
        value.device.type == "cpu" and torch.equal(value, before[name]) for name, value in network.state_dict().items()
    )


def test_training_bytes_are_the_step_and_three_copies_of_the_weights():
    """Input and output, 40 kB each; the gradient of a sum is one number; a weight of 4 bytes, and its gradient."""
    network = nn.Conv2d(1, 1, 1, bias=False)
    found = count_training_bytes(network, (1, 1, 100, 100), torch.device("cpu"), amp=False)
    assert 80_000 + 3 * 4 <= found <= 80_000 + 3 * 4 + 20


class TwoOutputs(nn.Module):
    """Deep supervision: a list in training."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.conv(x), self.conv(x)]


def test_training_bytes_of_several_outputs():
    one = count_training_bytes(nn.Conv2d(1, 1, 1), (1, 1, 100, 100), torch.device("cpu"), amp=False)
    two = count_training_bytes(TwoOutputs(), (1, 1, 100, 100), torch.device("cpu"), amp=False)
    assert 40_000 <= two - one < 40_100


def test_steps_are_timed_in_turn():
    order: list[str] = []

    def step(name: str, seconds: float) -> None:
        order.append(name)
        time.sleep(seconds)

    found = time_alternately({"slow": lambda: step("slow", 0.02), "fast": lambda: step("fast", 0.0)}, rounds=3)
    assert order == ["slow", "fast"] * 4
    assert min(found["slow"]) >= 0.02 > min(found["fast"])
    assert [len(seconds) for seconds in found.values()] == [3, 3]
