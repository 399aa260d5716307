from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks import volume_pipeline
from data_prep import volume_phantom


def test_dice_of_label_maps() -> None:
    first, second = np.zeros((1, 4, 4, 4), np.uint8), np.zeros((1, 4, 4, 4), np.uint8)
    first[0, 0, 0, :3] = 2
    second[0, 0, 0, 1:] = [2, 1, 2]
    assert volume_pipeline.dice(first, second) == {"TC": 0.0, "WT": round(4 / 6, 5), "ET": None}


def test_both_programs_on_a_phantom(repository: Path, tmp_path: Path, capsys) -> None:
    volume_phantom.make(tmp_path / "phantom", "decathlon", number=1, shape=(32, 36, 28))
    image, label = (next((tmp_path / "phantom" / part).glob("*.nii.gz")) for part in ("imagesTr", "labelsTr"))
    bundle = repository / "bundles" / "pu_unet_brats"
    arguments = ["--bundle", bundle, "--image", image, "--label", label, "--rounds", 1, "--output", tmp_path / "found"]
    volume_pipeline.main([*map(str, arguments), "--roi-size", "32", "32", "32"])
    results = json.loads((tmp_path / "found.json").read_text())
    sides = results["sides"]
    assert list(sides) == [
        "MONAI's windows, float32",
        "the same windows, bfloat16",
        "predict, float32",
        "predict, bfloat16",
    ]
    for side in sides.values():
        assert len(side["cpu_seconds"]) == len(side["wall_seconds"]) == 1
        assert min(side["cpu_seconds"]) > 0
        assert side["dice_with_float32"]["WT"] > 0.9
    assert sides["predict, float32"]["dice_with_float32"]["WT"] == 1
    assert (tmp_path / "found.md").read_text().strip() == capsys.readouterr().out.strip()
