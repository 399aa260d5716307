"""The experiment on phantoms, by the commands that its users type."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from data_prep import volume_phantom
from experiments.brain_report.experiment import Experiment
from experiments.brain_report.run import main
from experiments.brain_report.set_ups import REPOSITORY
from tests.conftest import PYTHON

SHAPE = (32, 36, 28)
CUBES = {"crop_size": [32, 36, 28], "cube_size": [16, 18, 14], "channels": [8, 16], "val_interval": 1}
SLICES = {"crop_size": [32, 36, 28], "batch_size": 4, "channels": [8, 16], "val_interval": 1}
EPOCHS = 6


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    volume_phantom.make(folder, number=3, shape=SHAPE)
    return folder


def arguments(phantoms: Path, output: Path, set_up: str, epochs: int = 1) -> list[str]:
    settings = SLICES if set_up == "slices" else CUBES
    options = {"dataset-dir": phantoms, "output": output, "set-ups": set_up, "epochs": epochs}
    given = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    return given + [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]


@pytest.fixture(scope="module")
def finished(phantoms, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("finished")
    assert main(arguments(phantoms, output, "slices", EPOCHS)) == 0
    return output


def test_split(finished):
    datalist = json.loads((finished / "datalist.json").read_text())
    assert [entry["image"] for entry in datalist["test"]] == ["imagesTr/phantom_003.nii.gz"]
    assert len(datalist["training"]) == 2
    assert datalist["validation"] == datalist["training"]
    assert datalist["provenance"]["numbers"] == {"cases": 3}


def test_table_against_the_files(finished, phantoms):
    results = json.loads((finished / "table.json").read_text())
    assert results["machine"]["threads"] == 1
    row = results["set_ups"]["slices"]
    assert row["epochs"] == EPOCHS
    with (finished / "slices" / "training" / "scores.csv").open() as file:
        assert [score["case"] for score in csv.DictReader(file)] == ["phantom_001", "phantom_002"]

    found = np.asarray(nibabel.load(finished / "slices" / "test" / "phantom_003_seg.nii.gz").dataobj)
    truth = np.asarray(nibabel.load(phantoms / "labelsTr" / "phantom_003.nii.gz").dataobj)
    truth = np.array([0, 2, 1, 3])[truth]  # from decathlon to brats
    overlap = 2 * ((found > 0) & (truth > 0)).sum() / ((found > 0).sum() + (truth > 0).sum())
    assert row["test"]["dice"]["WT"] == pytest.approx(overlap, abs=1e-5)
    assert row["test"]["background"] == {"truth": np.mean(truth == 0), "prediction": np.mean(found == 0)}
    precision = ((found == 2) & (truth == 2)).sum() / (found == 2).sum() if (found == 2).any() else None
    assert row["test"]["classes"]["edema"]["precision"] == pytest.approx(precision)

    text = (finished / "table.md").read_text()
    assert f"| 2D slices | {row['parameters']:,} | {EPOCHS} |" in text
    assert f"{np.mean(truth == 0):.2%}" in text
    assert Image.open(finished / "slice.png").width > 500


def test_finished_run_does_nothing_again(finished, phantoms, capsys):
    before = {path: path.stat().st_mtime_ns for path in (finished / "slices").rglob("*")}
    assert main(arguments(phantoms, finished, "slices", EPOCHS)) == 0
    assert {path: path.stat().st_mtime_ns for path in (finished / "slices").rglob("*")} == before
    assert capsys.readouterr().out == f"wrote {finished / 'table.md'}, table.json and slice.png\n"


def test_killed_run_goes_on_and_ends_as_the_unbroken_one(finished, phantoms, tmp_path):
    command = [
        PYTHON,  # killed with all that it started
        "-m",
        "experiments.brain_report.run",
        *arguments(phantoms, tmp_path, "slices", EPOCHS),
    ]
    models = tmp_path / "slices" / "models"
    with subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (models / "checkpoint_epoch=1.pt").is_file() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert (models / "checkpoint_epoch=1.pt").is_file()
    assert not (models / f"checkpoint_epoch={EPOCHS}.pt").is_file()

    settings = json.loads((finished / "settings.json").read_text())["set"]
    box = json.loads((finished / "datalist_statistics.json").read_text())["foreground_box"]
    shared = {"dataset_dir": phantoms, "datalist_file": tmp_path / "datalist.json", "seed": 42, "num_workers": 0}
    shared |= {"box_start": box["start"], "box_end": box["end"], **settings}
    Experiment(tmp_path, 1, shared).train("slices", EPOCHS)
    assert "resumed after epoch" in (tmp_path / "slices" / "training.log").read_text()
    whole, broken = (
        torch.load(folder / "slices" / "models" / f"checkpoint_epoch={EPOCHS}.pt", weights_only=True)["network"]
        for folder in (finished, tmp_path)
    )
    assert all(torch.equal(whole[key], broken[key]) for key in whole)


@pytest.mark.parametrize("set_up", ["minicubes", "minicubes_context"])
def test_one_epoch(finished, phantoms, set_up, tmp_path):
    box = json.loads((finished / "datalist_statistics.json").read_text())["foreground_box"]
    shared = {"dataset_dir": phantoms, "datalist_file": finished / "datalist.json", "seed": 42, "num_workers": 0}
    shared |= {"box_start": box["start"], "box_end": box["end"]}
    shared |= CUBES | ({"margin": [2, 3, 2]} if set_up == "minicubes_context" else {})
    Experiment(tmp_path, 1, shared).train(set_up, 1)
    with (tmp_path / set_up / "epochs.csv").open() as file:
        (epoch,) = csv.DictReader(file)
    assert 0 < float(epoch["loss"]) < 5
    assert 0 <= float(epoch["dice"]) <= 1
    assert "samples of " in (tmp_path / set_up / "training.log").read_text()


def test_other_settings_are_refused(finished, phantoms, capsys):
    assert main([*arguments(phantoms, finished, "slices"), "--seed", "7"]) == 2
    assert "holds results of" in capsys.readouterr().err


def test_mistakes_are_said_before_anything_is_done(phantoms, tmp_path, capsys):
    for wrong, message in {
        ("--test-case", "phantom_009"): "--test-case phantom_009: ",
        ("--set", "channels"): "--set channels: expected KEY=VALUE",
        ("--set", "chanels=[8,16]"): "--set for slices: has no key chanels (did you mean channels?)",
        ("--set", "val_interval=2"): "--epochs 1: the best weights are chosen every 2 epochs",
    }.items():
        assert main([*arguments(phantoms, tmp_path, "slices"), *wrong]) == 2
        assert message in capsys.readouterr().err
        assert not list(tmp_path.iterdir())


def test_failed_training_is_said_with_its_log(phantoms, tmp_path, capsys):
    assert main([*arguments(phantoms, tmp_path, "minicubes"), "--set", "channels=[0,8]"]) == 2
    said = "training.log: training ended with exit code 1: error: channels [0, 8]: widths must be"
    assert said in capsys.readouterr().err
