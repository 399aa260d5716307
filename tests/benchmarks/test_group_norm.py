from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from benchmarks import group_norm
from pu_unet_monai.networks.nets import PUUNet
from tests.bundles.conftest import run_python


def test_measures_both_and_their_gradients_agree(tmp_path: Path) -> None:
    options = ["--quick", "--rounds", "2", "--output", str(tmp_path)]
    run = run_python(["-m", "benchmarks.group_norm", *options], tmp_path)
    assert run.returncode == 0, run.stderr
    (case,) = json.loads((tmp_path / "group_norm.json").read_text())["cases"]
    assert [len(times) for times in case["cpu"].values()] == [2, 2]
    assert case["gradient difference"] < 0.1
    assert "| 8, 1x32x32 |" in (tmp_path / "group_norm.md").read_text()


def test_the_other_side_is_the_same_network_with_pytorchs_norm() -> None:
    network = PUUNet(channels=[8, 16])
    other = group_norm.with_pytorchs_norm(network)
    norms = [type(module) for module in other.modules() if isinstance(module, nn.GroupNorm)]
    assert set(norms) == {nn.GroupNorm}
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(other(image), network(image), rtol=0, atol=0)
