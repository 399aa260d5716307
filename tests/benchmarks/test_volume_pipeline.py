from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import volume_pipeline
from data_prep import volume_phantom


def test_dice_of_label_maps() -> None:
    first, second = np.zeros((1, 4, 4, 4), np.uint8), np.zeros((1, 4, 4, 4), np.uint8)
    first[0, 0, 0, :3] = 2
    second[0, 0, 0, 1:] = [2, 1, 2]
    assert volume_pipeline.dice(first, second) == {"TC": 0.0, "WT": round(4 / 6, 5), "ET": None}


def test_both_programs_on_a_phantom(repository: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # for all processes: as a CPU without bfloat16 would
    volume_phantom.make(tmp_path / "phantom", "decathlon", number=1, shape=(32, 36, 28))
    image, label = (next((tmp_path / "phantom" / part).glob("*.nii.gz")) for part in ("imagesTr", "labelsTr"))
    bundle = repository / "bundles" / "pu_unet_brats"
    arguments = ["--bundle", bundle, "--image", image, image, "--label", label, label, "--rounds", 1]
    volume_pipeline.main([*map(str, arguments), "--output", str(tmp_path), "--roi-size", "32", "32", "32"])
    results = json.loads((tmp_path / "volume_pipeline_avx2.json").read_text())
    sides = results["sides"]
    assert list(sides) == ["MONAI's windows, float32", "predict, eager, float32", "predict, openvino, float32"]
    for side in sides.values():
        assert len(side["cpu_seconds"]) == len(side["wall_seconds"]) == 1
        assert min(side["cpu_seconds"]) > 0
        assert len(side["dice_with_truth"]) == 2
        assert side["dice_with_truth"][0] == side["dice_with_truth"][1]
        whole = [score for score in side["dice_with_truth"][0].values() if score is not None]
        assert side["mean_dice"] == pytest.approx(sum(whole) / len(whole), abs=1e-5)
    exact, fast = (sides[f"predict, {runtime}, float32"]["mean_dice"] for runtime in ("eager", "openvino"))
    assert exact == pytest.approx(fast, abs=0.01)
    assert [goal["goal"].split(",")[0] for goal in results["goals"]][:2] == ["at least 8x", "at least 12x"]
    whole = [goal["met"] for goal in results["goals"]]
    assert None not in whole
    assert [goal["met"] for goal in volume_pipeline._goals(results | {"synthetic": True})] == [None] * len(whole)
    assert (tmp_path / "volume_pipeline_avx2.md").read_text().strip() == capsys.readouterr().out.strip()
