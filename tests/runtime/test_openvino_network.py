from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
import torch
from torch import nn

from pu_unet_monai.networks.blocks import ProductUnit
from pu_unet_monai.runtime import openvino_network

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("size", [(2, 12, 7), (2, 12, 5, 7), (1, 12, 4, 5, 3)])
def test_group_norm_in_plain_operations(size: tuple[int, ...], affine: bool) -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(4, 12, affine=affine, eps=0.1)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x = 3 + torch.randn(size)
    plain = openvino_network._PlainGroupNorm(norm)
    torch.testing.assert_close(plain(x), norm(x), rtol=1e-5, atol=1e-5)


def test_the_network_itself_stays_as_it_is() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(nn.GroupNorm(2, 4)), ProductUnit(2, 4, 4))
    x = torch.randn(1, 1, 8, 8)
    expected = network(x)
    prepared = openvino_network._prepared(nn.Sequential(network))
    torch.testing.assert_close(prepared(x), expected)
    assert isinstance(prepared[0][1][0], openvino_network._PlainGroupNorm)


@needs_openvino
def test_any_size_and_exact_norms() -> None:
    """A long row of numbers far from 0, of which a sum one after another would lose digits."""
    torch.manual_seed(0)
    norm = nn.Sequential(nn.Conv3d(1, 8, 1), nn.GroupNorm(4, 8)).eval()
    run = openvino_network.OpenVINONetwork(norm, torch.randn(2, 1, 5, 6, 7))
    for size in ((1, 1, 64, 80, 96), (2, 1, 9, 8, 7), (1, 1, 64, 80, 96)):
        x = 30 + torch.randn(size)
        with torch.no_grad():
            expected = norm.double()(x.double())
        torch.testing.assert_close(run(x).double(), expected, rtol=0, atol=1e-3)
        norm.float()


SIGNAL_AFTER_NETWORKS = """
import os, signal, torch
from torch import nn
from pu_unet_monai.runtime.openvino_network import OpenVINONetwork

signal.signal(signal.SIGCHLD, lambda *_: print("handled"))
networks = [OpenVINONetwork(nn.Conv2d(1, 1, 3), torch.zeros(2, 1, 8, 8)) for _ in range(2)]
for network in networks:
    network(torch.zeros(1, 1, 8, 8))
del network
while networks:
    networks.pop(0)
os.kill(os.getpid(), signal.SIGCHLD)
"""


@needs_openvino
def test_signals_are_handled_after_networks_are_gone() -> None:
    """In whatever order: see ``openvino_core``."""
    run = subprocess.run([sys.executable, "-c", SIGNAL_AFTER_NETWORKS], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "handled\n"), run.stderr
