from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from benchmarks import complexity


def test_table_and_goals(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    published = {
        (32, "PU-UNet"): {"parameters_m": 14.393, "flops_g": 0.551, "latency_ms": 1.0},
        (32, "Residual U-Net"): {"parameters_m": 14.392, "flops_g": 0.551, "latency_ms": 1e-3},
    }
    monkeypatch.setattr(complexity, "PUBLISHED", published)
    assert complexity.main(["--sizes", "32", "40", "--rounds", "2", "--output", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "complexity.json").read_text())
    assert results["rounds"] == 2
    assert results["machine"]["threads"] > 0
    assert list(results["sizes"]) == ["32", "40"]
    found = results["sizes"]["32"]
    assert {name: side["parameters"] for name, side in found["networks"].items()} == {
        "PU-UNet": 14_392_613,
        "Residual U-Net": 14_391_201,
    }
    ratios = [
        ours / theirs for ours, theirs in zip(*(cpu_times(side) for side in found["networks"].values()), strict=True)
    ]
    assert found["ratios"]["float32"]["median"] == pytest.approx(statistics.median(ratios), abs=1e-3)
    # a published number that is not ours is not met, and any time is under a thousand times the baseline's
    met = {goal["what"]: goal["met"] for goal in results["goals"]}
    assert met["PU-UNet, 32 px, parameters (M)"]
    assert met["PU-UNet, 32 px, FLOPs (G), the paper's convention"]
    assert not met["Residual U-Net, 32 px, parameters (M)"]
    assert met["time of PU-UNet / Residual U-Net, 32 px, float32"]
    assert not any("40 px" in what for what in met)
    text = (tmp_path / "complexity.md").read_text()
    assert text.count("| 32x32 | PU-UNet | 14,392,613 | 0.551 (published 0.551) |") == 1
    assert text.strip() == capsys.readouterr().out.strip()


def cpu_times(side: dict) -> list[float]:
    return side["times"]["float32"]["cpu_seconds"]
