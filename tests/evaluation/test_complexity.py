from __future__ import annotations

import itertools
import time

import torch
from torch import nn

from pu_unet_monai.evaluation.complexity import count_macs, count_parameters, count_training_bytes, time_alternately
from pu_unet_monai.networks.nets import PUUNet


def test_worked_convolution():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ConvTranspose2d(8, 4, 2, stride=2))
    network[0].bias.requires_grad_(False)
    assert count_parameters(network) == 3 * 8 * 9 + (8 * 4 * 4 + 4)
    # each output of the first has 3 * 9 products; each input of the second is multiplied into 2 x 2 x 4 outputs
    assert count_macs(network, (2, 3, 10, 12)) == 2 * 10 * 12 * (8 * 3 * 9 + 8 * 4 * 4)


def test_macs_of_the_paper():
    """2 x multiply-adds without the transposed convolutions, plus residual additions, are 35.292 G at 256x256."""
    channels = (32, 64, 128, 256, 512)
    transposed = sum(
        coarse * fine * 4 * (256 // 2**level) ** 2
        for level, (fine, coarse) in enumerate(itertools.pairwise(channels), 1)
    )
    found = count_macs(PUUNet(placement="none"), (1, 3, 256, 256)) - transposed
    assert abs(2 * found / 1e9 - 35.292) < 0.03


def test_network_stays_as_it_is():
    network = PUUNet(channels=(8, 16)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    count_macs(network, (1, 3, 8, 8))
    count_training_bytes(network, (1, 3, 8, 8), torch.device("cpu"), amp=True)
    assert network.training
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
