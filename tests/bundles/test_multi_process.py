"""Training by ``torchrun`` with the overlay ``multi_gpu_train.json``, here two processes on the CPU."""

from __future__ import annotations

import csv

import torch

from tests.bundles.conftest import SMALL, command_line, run_python


def test_two_processes_train_one_network(datasets, tmp_path):
    bundle = "pu_unet_kvasir"
    places = {"output_dir": str(tmp_path), "ckpt_dir": str(tmp_path / "models")}
    overrides = {**SMALL, **datasets(bundle).overrides(), **places}
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
