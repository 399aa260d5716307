"""Training by ``torchrun`` with the overlay ``multi_gpu_train.json``, here two processes on the CPU."""

from __future__ import annotations

import csv

import torch

from tests.bundles.conftest import SMALL, command_line, run_bundle, run_python


def test_two_processes_train_one_network(datasets, tmp_path):
    bundle = "pu_unet_kvasir"
    places = {"output_dir": str(tmp_path), "ckpt_dir": str(tmp_path / "models")}
    overrides = {**SMALL, **datasets(bundle).overrides(), **places, "amp": False}
    args = command_line(bundle, "training", ["train.json", "multi_gpu_train.json"], overrides)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    run = run_python([*launcher, *args], tmp_path)
    assert run.returncode == 0, run.stderr
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == [
        "checkpoint_epoch=1.pt",
        "checkpoint_epoch=2.pt",
        "model.pt",
    ]
    names = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert not [name for name in names if name.startswith("module.")]
    rows = list(csv.DictReader((tmp_path / "epochs.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]

    # each process saw its half of the data, and both together what one process sees in batches twice as large
    one = tmp_path / "one"
    overrides |= {"batch_size": 8, "output_dir": str(one), "ckpt_dir": str(one / "models")}
    assert run_bundle(bundle, "training", ["train.json"], overrides, tmp_path).returncode == 0
    expected, found = (
        torch.load(folder / "models" / "checkpoint_epoch=1.pt", weights_only=True) for folder in (one, tmp_path)
    )
    assert found["trainer"]["iteration"] == expected["trainer"]["iteration"] == 3
    differences = [(found["network"][name] - weights).abs() for name, weights in expected["network"].items()]
    assert torch.cat([difference.flatten() for difference in differences]).mean() < 1e-5  # a step is about 3e-4

    evaluating = command_line(
        bundle, "evaluating", ["train.json", "multi_gpu_train.json", "evaluate.json"], {**overrides, **places}
    )
    run = run_python([*launcher, *evaluating], tmp_path)
    assert run.returncode == 0, run.stderr
    assert len(list(csv.DictReader((tmp_path / "scores.csv").open()))) == 3
