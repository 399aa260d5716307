"""The export helper; that every network goes through it is checked in tests/networks."""

from __future__ import annotations

import io

import pytest
import torch
import torch.fx.experimental._config as symbolic_shapes_config
from torch import nn

from pu_unet_monai.networks.nets import PUUNet
from pu_unet_monai.runtime.export import export_program


def test_evaluation_mode_and_switch_are_put_back() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Dropout(0.9)).train()
    before = symbolic_shapes_config.backed_size_oblivious
    module = export_program(network, torch.rand(1, 1, 20, 18)).module()
    assert network.training
    assert network[1].training
    assert symbolic_shapes_config.backed_size_oblivious == before
    x = torch.rand(3, 1, 31, 7)
    torch.testing.assert_close(module(x), network.eval()(x))


def test_widths_of_the_paper() -> None:
    """Five resolutions, so that sizes are padded to 16."""
    network = PUUNet(channels=(8, 8, 8, 8, 16)).eval()
    module = export_program(network, torch.rand(1, 3, 17, 18)).module()
    with torch.no_grad():
        for size in ((1, 1), (16, 16), (5, 7), (40, 33)):
            x = torch.rand(1, 3, *size)
            torch.testing.assert_close(module(x), network(x))


def test_small_volumes() -> None:
    """A single voxel at the lowest resolution, and one item of one output channel, which PyTorch alone refuses."""
    network = PUUNet(3, 1, 1, channels=(8, 16)).eval()
    module = export_program(network, torch.rand(1, 1, 18, 20, 17)).module()
    with torch.no_grad():
        for size in ((2, 2, 2), (1, 1, 1), (3, 1, 1), (5, 4, 3), (19, 16, 18)):
            for batch in (1, 3):
                x = torch.rand(batch, 1, *size)
                torch.testing.assert_close(module(x), network(x))


def test_what_the_network_refuses_stays_refused() -> None:
    """Only assertions about memory layout are removed; so in a program that was saved and loaded."""
    network = PUUNet(channels=(8, 16)).eval()
    file = io.BytesIO()
    torch.export.save(export_program(network, torch.rand(1, 3, 18, 20)), file)
    file.seek(0)
    module = torch.export.load(file).module()
    x = torch.rand(1, 3, 7, 5)
    torch.testing.assert_close(module(x), network(x))
    for shape in ((1, 4, 18, 20), (1, 3, 18), (1, 3, 18, 20, 2)):
        with pytest.raises((AssertionError, IndexError, RuntimeError, ValueError)):
            module(torch.rand(shape))


@pytest.mark.parametrize("shape", [(1, 3, 16, 32), (1, 3), (2, 3, 64, 5)])
def test_small_examples_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"at least 17 on each spatial axis"):
        export_program(PUUNet(channels=(8, 16)), torch.rand(shape))
