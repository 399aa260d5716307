"""The split of the experiment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep import volume_phantom
from data_prep.volume_statistics import statistics_file
from experiments.brain_report.prepare import prepare
from pu_unet_monai.data import load_datalist
from pu_unet_monai.errors import UserError
from pu_unet_monai.volumes import read_volume

PARTS = ("training", "validation", "test")
SHAPE = (20, 24, 18)


@pytest.mark.parametrize("layout", ["decathlon", "brats"])
def test_one_case_for_test_and_the_box_of_the_others(layout, tmp_path):
    volume_phantom.make(tmp_path / "data", layout, number=4, shape=SHAPE)
    output = tmp_path / "datalist.json"
    prepare(tmp_path / "data", output, "phantom_002", seed=42)
    training, validation, test = (load_datalist(output, tmp_path / "data", part) for part in PARTS)
    assert [name_of(entry) for entry in test] == ["phantom_002"]
    assert [name_of(entry) for entry in training] == ["phantom_001", "phantom_003", "phantom_004"]
    assert validation == training

    heads = np.any([image_of(entry) != 0 for entry in training], axis=(0, 1))
    expected = [[int(f(axis)) for axis in np.nonzero(heads)] for f in (np.min, lambda axis: np.max(axis) + 1)]
    statistics = json.loads(statistics_file(output).read_text())
    assert statistics["foreground_box"] == dict(zip(("start", "end"), expected, strict=True))


def name_of(entry: dict) -> str:
    label = Path(entry["label"]).name
    return label.removesuffix(".nii.gz").removesuffix("_seg")


def image_of(entry: dict) -> np.ndarray:
    files = [entry["image"]] if isinstance(entry["image"], str) else entry["image"]
    return np.concatenate([read_volume(file).numpy() for file in files])


def test_last_case_is_for_test_by_default(tmp_path):
    volume_phantom.make(tmp_path / "data", number=2, shape=SHAPE)
    prepare(tmp_path / "data", tmp_path / "datalist.json", None, seed=42)
    (entry,) = load_datalist(tmp_path / "datalist.json", tmp_path / "data", "test")
    assert name_of(entry) == "phantom_002"


@pytest.mark.parametrize(("number", "test_case"), [(1, None), (2, "phantom_007")])
def test_cases_that_make_no_split_are_refused(number, test_case, tmp_path):
    volume_phantom.make(tmp_path / "data", number=number, shape=SHAPE)
    with pytest.raises(UserError, match=r"has the cases phantom_001.*; expected two or more"):
        prepare(tmp_path / "data", tmp_path / "datalist.json", test_case, seed=42)
    assert not (tmp_path / "datalist.json").exists()
