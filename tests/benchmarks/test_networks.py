from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
import torch

from benchmarks import networks
from pu_unet_monai.evaluation.complexity import count_parameters

NAMES = [
    "PU-UNet", "Residual U-Net", "UNet", "BasicUNet", "SegResNet", "DynUNet", "AttentionUnet", "SwinUNETR",
]  # fmt: skip


def test_networks_of_the_paper_are_among_them() -> None:
    found = networks.build(networks.FULL["2D"])
    parameters = {name: count_parameters(network) for name, network in found.items()}
    assert (parameters["PU-UNet"], parameters["Residual U-Net"]) == (14_392_613, 14_391_201)


@pytest.mark.parametrize("name", ["2D", "3D"])
def test_all_take_the_sizes_and_lie_channels_last(name: str) -> None:
    layout = torch.channels_last if name == "2D" else torch.channels_last_3d
    for settings in (networks.FULL, networks.QUICK):
        setting = settings[name]
        image = torch.empty(1, setting.in_channels, *setting.size, device="meta")
        for network in networks.build(setting).values():
            kernels = [weight for weight in network.parameters() if weight.dim() == image.dim()]
            assert kernels
            assert all(weight.is_contiguous(memory_format=layout) for weight in kernels)
            assert network.to("meta").eval()(image).shape == (1, setting.out_channels, *setting.size)


def test_table_and_picture(tmp_path: Path, capsys) -> None:
    assert networks.main(["--quick", "--tables", "2D", "--rounds", "2", "--output", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "networks.json").read_text())
    assert results["rounds"] == {"2D": 2}
    assert results["goals"] == []
    table = results["tables"]["2D"]
    assert list(table["networks"]) == NAMES
    built = networks.build(networks.QUICK["2D"])
    for name, side in table["networks"].items():
        assert side["parameters"] == count_parameters(built[name])
        # the step holds the weights, their gradients and two moments of them
        assert side["training_bytes"] > 4 * 4 * side["parameters"]
        assert len(side["float32"]["wall_seconds"]) == len(side["training"]["cpu_seconds"]) == 2
    ours, swin = (table["networks"][name]["training"] for name in ("PU-UNet", "SwinUNETR"))
    ratios = [a / b for a, b in zip(swin["cpu_seconds"], ours["cpu_seconds"], strict=True)]
    assert swin["over_first"]["median"] == pytest.approx(statistics.median(ratios), rel=1e-3)
    text = (tmp_path / "networks.md").read_text()
    assert [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if " | " in line][2:] == NAMES
    assert text.strip() == capsys.readouterr().out.strip()
    assert (tmp_path / "networks.png").read_bytes().startswith(b"\x89PNG")
