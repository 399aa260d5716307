from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import exports
from pu_unet_monai.__main__ import main
from pu_unet_monai.networks.nets import PUUNet


def test_all_sides_give_the_same_logits(repository: Path, tmp_path: Path, capsys) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    torch.manual_seed(0)
    torch.save(PUUNet(channels=(8, 16)).state_dict(), tmp_path / "model.pt")
    bundle = ["--bundle", str(repository / "bundles" / "pu_unet_kvasir")]
    bundle += ["--set", "channels=[8,16]", "--set", f"ckpt_dir={tmp_path}"]
    assert main(["export", *bundle, "--output", str(tmp_path)]) == 0
    capsys.readouterr()
    arguments = ["--exports", tmp_path, "--size", 30, 20, "--rounds", 1, "--output", tmp_path / "found"]
    assert exports.main([*bundle, *map(str, arguments)]) == 0
    results = json.loads((tmp_path / "found.json").read_text())
    assert results["shape"] == [1, 3, 30, 20]
    differences = {name: side["difference"] for name, side in results["sides"].items()}
    assert differences["TorchScript, float32"] == 0
    assert max(value for name, value in differences.items() if name.endswith("float32")) < 1e-4
    assert max(differences.values()) < 0.1
    assert (tmp_path / "found.md").read_text().strip() == capsys.readouterr().out.strip()
