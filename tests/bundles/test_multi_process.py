"""Training by ``torchrun`` with the overlay ``multi_gpu_train.json``, here two processes on the CPU."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import numpy as np
import torch

import data_prep.brats
from data_prep import volume_phantom
from tests.bundles.conftest import SMALL, Dataset, command_line, run_bundle, run_python

KVASIR = "pu_unet_kvasir"
BRATS = "pu_unet_brats"
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
TWO = ["train.json", "multi_gpu_train.json"]


def run_two(
    bundle: str, run_id: str, configs: list[str], overrides: dict[str, object], cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run a bundle by ``torchrun`` in two processes."""
    return run_python([*LAUNCHER, *command_line(bundle, run_id, configs, overrides)], cwd)


def record(folder: Path) -> str:
    """Write an overlay whose handler writes each process's losses and weights into ``folder``."""
    handler = {"_target_": "tests.bundles.recorder.Recorder", "folder": str(folder)}
    path = folder / "record.json"
    path.write_text(json.dumps({"+train#handlers": [handler]}))
    return str(path)


def check_two_are_one(one: Path, two: Path, steps: int) -> None:
    """Compare what one process and two processes with the same global batches left."""
    single = torch.load(one / "rank0.pt", weights_only=True)
    first, second = (torch.load(two / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first["weights"].keys() == second["weights"].keys()
    assert all(torch.equal(first["weights"][name], second["weights"][name]) for name in first["weights"])
    assert len(first["losses"]) == len(second["losses"]) == len(single["losses"])
    assert first["losses"] != second["losses"]  # each saw its own share
    together = (np.asarray(first["losses"]) + second["losses"]) / 2
    assert np.ptp(single["losses"][:steps]) > 1e-2  # steps that learn nothing would prove nothing
    np.testing.assert_allclose(together[:steps], single["losses"][:steps], rtol=0, atol=1e-5)


def test_two_processes_train_one_network(datasets, tmp_path):
    two, one = tmp_path / "two", tmp_path / "one"
    overrides = {**SMALL, **datasets(KVASIR).overrides(), "amp": False}
    for folder in (two, one):
        folder.mkdir()
    places = {"output_dir": str(two), "ckpt_dir": str(two / "models")}
    run = run_two(KVASIR, "training", [*TWO, record(two)], overrides | places, tmp_path)
    assert run.returncode == 0, run.stderr
    assert sorted(p.name for p in (two / "models").iterdir()) == [
        "checkpoint_epoch=1.pt",
        "checkpoint_epoch=2.pt",
        "model.json",
        "model.pt",
    ]
    names = torch.load(two / "models" / "model.pt", weights_only=True)
    assert not [name for name in names if name.startswith("module.")]
    rows = list(csv.DictReader((two / "epochs.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]

    # each process saw its half of the data, and both together what one process sees in batches twice as large
    whole = overrides | {"batch_size": 8, "output_dir": str(one), "ckpt_dir": str(one / "models")}
    run = run_bundle(KVASIR, "training", ["train.json", record(one)], whole, tmp_path)
    assert run.returncode == 0, run.stderr
    check_two_are_one(one, two, steps=3)  # an epoch
    expected, found = (
        torch.load(folder / "models" / "checkpoint_epoch=1.pt", weights_only=True) for folder in (one, two)
    )
    assert found["trainer"]["iteration"] == expected["trainer"]["iteration"] == 3
    differences = [(found["network"][name] - weights).abs() for name, weights in expected["network"].items()]
    assert torch.cat([difference.flatten() for difference in differences]).mean() < 1e-5  # a step is about 3e-4

    run = run_two(KVASIR, "evaluating", [*TWO, "evaluate.json"], overrides | places, tmp_path)
    assert run.returncode == 0, run.stderr
    assert len(list(csv.DictReader((two / "scores.csv").open()))) == 3


def test_two_processes_train_one_network_on_volumes(tmp_path):
    dataset = Dataset(tmp_path / "heads", tmp_path / "heads.json")
    volume_phantom.make(dataset.folder, "brats", number=10, shape=(32, 36, 28))
    assert data_prep.brats.main(["--source", str(dataset.folder), "--output", str(dataset.datalist)]) == 0
    datalist = json.loads(dataset.datalist.read_text())
    datalist["validation"].append(datalist["training"].pop())  # one for each process
    dataset.datalist.write_text(json.dumps(datalist))
    small = {"channels": [8, 16], "roi_size": [16, 16, 16], "batch_size": 2, "num_workers": 0, "amp": False}
    overrides = {**small, **dataset.overrides(), "max_epochs": 1, "finetune_epochs": 0, "window": [16, 16, 16]}
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        places = {"output_dir": str(folder), "ckpt_dir": str(folder / "models")}
        if name == "one":  # two heads a step, of two patches each
            more = {**places, "train#dataloader#batch_size": 2}
            run = run_bundle(BRATS, "training", ["train.json", record(folder)], overrides | more, tmp_path)
        else:
            run = run_two(BRATS, "training", [*TWO, record(folder)], overrides | places, tmp_path)
        assert run.returncode == 0, run.stderr
    check_two_are_one(tmp_path / "one", tmp_path / "two", steps=3)


def fail(configs: list[str], overrides: dict[str, object], tmp_path: Path) -> tuple[str, list[str]]:
    """Run a training by two processes, which must fail and write nothing, and return what was printed."""
    places = {"output_dir": str(tmp_path / "out"), "ckpt_dir": str(tmp_path / "out" / "models")}
    run = run_two(KVASIR, "training", configs, {**SMALL, **overrides, **places}, tmp_path)
    assert run.returncode == 1
    assert not (tmp_path / "out").exists()
    assert run.stderr.count("Traceback") == 1  # of torchrun itself
    return run.stderr, [line for line in run.stderr.splitlines() if "error: " in line]


def test_fewer_validation_images_than_processes(datasets, tmp_path):
    dataset = datasets(KVASIR)
    datalist = json.loads(dataset.datalist.read_text())
    datalist["validation"] = datalist["validation"][:1]
    path = tmp_path / "datalist.json"
    path.write_text(json.dumps(datalist))
    _, lines = fail(TWO, dataset.overrides() | {"datalist_file": str(path)}, tmp_path)
    assert lines
    assert all("the part of the data to score has 1 case, but 2 processes need 2: " in line for line in lines)


def test_user_error_is_the_root_cause_that_torchrun_names(datasets, tmp_path):
    printed, lines = fail(TWO, datasets(KVASIR).overrides() | {"datalist_file": "missing.json"}, tmp_path)
    assert all("datalist_file missing.json: no such file; " in line for line in lines)
    assert 1 <= sum(line.startswith("[rank") for line in lines) <= 2  # torchrun may end one before it can say so
    root_cause = printed.partition("Root Cause")[2]
    assert "error: datalist_file missing.json: no such file; " in root_cause
    assert "To enable traceback" not in root_cause


def test_one_process_needs_torchrun_all_the_same(datasets, tmp_path):
    overrides = {**SMALL, **datasets(KVASIR).overrides(), "output_dir": str(tmp_path / "out")}
    run = run_bundle(KVASIR, "training", TWO, overrides, tmp_path)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "multi_gpu_train.json: start it by torchrun" in run.stderr
