"""Every head tested by a training on the others, with tiny synthetic heads."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from data_prep import volume_phantom
from experiments.paper import leave_one_out, page

QUICK = ("roi_size=[16,16,16]", "channels=[8,8]", "batch_size=1", "max_epochs=1", "finetune_epochs=0", "val_interval=1")


@pytest.fixture(scope="module")
def heads(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("heads") / "phantom"
    volume_phantom.make(folder, "decathlon", number=2, shape=(32, 36, 28))
    return folder


def run(heads: Path, output: Path, *more: str) -> int:
    arguments = ["--dataset-dir", heads, "--output", output / "out", "--results", output / "results" / "brain"]
    settings = [part for text in (*QUICK, "window=[16,16,16]", *more) for part in ("--set", text)]
    return leave_one_out.main([*map(str, arguments), *settings])


def test_each_head_is_tested_by_a_training_on_the_others(heads, tmp_path, capsys):
    assert run(heads, tmp_path) == 0
    rows = list(csv.DictReader((tmp_path / "results" / "brain" / "scores.csv").open()))
    names = sorted(path.name.removesuffix(".nii.gz") for path in (heads / "imagesTr").glob("*.nii.gz"))
    assert [row["case"] for row in rows] == names
    for name in names:
        datalist = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert [Path(entry["image"]).name for entry in datalist["test"]] == [f"{name}.nii.gz"]
        assert datalist["training"] == datalist["validation"]
        assert datalist["test"][0] not in datalist["training"]

    kept = (tmp_path / "results" / "brain" / "scores.csv").read_text()
    shutil.rmtree(tmp_path / "out")  # another machine
    assert run(heads, tmp_path) == 0
    assert (tmp_path / "results" / "brain" / "scores.csv").read_text() == kept
    assert run(heads, tmp_path, "max_epochs=2") == 2
    assert "'max_epochs': 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

    text = page.page(tmp_path / "results")
    dice = [float(row["dice_WT"]) for row in rows]
    assert f"| {names[0]} |" in text
    assert f"{sum(dice) / 2:.3f}" in text.partition("| mean |")[2]
    assert "PU-UNet in 3D on 1 heads at a time" in text


def test_no_heads(tmp_path, capsys):
    assert leave_one_out.main(["--dataset-dir", str(tmp_path / "no"), "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: 1 folder(s) not found:")
