"""A training that is killed and resumed is the training that was never killed."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from pu_unet_monai.runtime.trained_with import read_facts
from tests.bundles.conftest import SMALL, run_bundle

BUNDLE = "pu_unet_kvasir"
LAST = "checkpoint_epoch=4.pt"


def assert_same(left: object, right: object) -> None:
    """Compare nested containers of tensors bit for bit."""
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert_same(a, b)
    else:
        assert left == right


@pytest.fixture(scope="module")
def train(datasets, tmp_path_factory):
    """Run a training of 4 epochs of 6 iterations, with workers, in a folder of its own."""

    def run(folder: Path, *configs: str, **more: object):
        folder.mkdir(exist_ok=True)
        places = {"output_dir": str(folder), "ckpt_dir": str(folder / "models")}
        overrides = {**SMALL, **datasets(BUNDLE).overrides(), "max_epochs": 4, "num_workers": 2, **places, **more}
        return run_bundle(BUNDLE, "training", ["train.json", *configs], overrides, folder)

    return run


@pytest.fixture(scope="module")
def unbroken(train, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    run = train(folder)
    assert run.returncode == 0, run.stderr
    return folder


def test_killed_in_the_middle_of_an_epoch(train, unbroken, tmp_path):
    kill = tmp_path / "kill.json"
    handler = {"_target_": "tests.bundles.faults.KillAt", "iteration": 15}
    kill.write_text(json.dumps({"+train#handlers": [handler]}))
    broken = tmp_path / "broken"

    killed = train(broken, str(kill))
    assert killed.returncode == -signal.SIGKILL
    assert sorted(p.name for p in (broken / "models").glob("checkpoint*")) == [
        "checkpoint_epoch=1.pt",
        "checkpoint_epoch=2.pt",
    ]

    resumed = train(broken, resume=True)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed after epoch 2 of 4" in resumed.stdout
    expected, found = (torch.load(f / "models" / LAST, weights_only=True) for f in (unbroken, broken))
    assert_same(expected, found)
    for name in ("model.pt", "model.json"):
        first, second = ((folder / "models" / name).read_bytes() for folder in (unbroken, broken))
        assert first == second
    rows = [list(csv.DictReader((f / "epochs.csv").open())) for f in (unbroken, broken)]
    for row in [*rows[0], *rows[1]]:
        del row["seconds"]
    assert rows[0] == rows[1]


def test_truncated_newest_checkpoint_falls_back(train, unbroken, tmp_path):
    broken = tmp_path / "broken"
    (broken / "models").mkdir(parents=True)
    for name in ("checkpoint_epoch=3.pt", LAST):
        (broken / "models" / name).write_bytes((unbroken / "models" / name).read_bytes())
    newest = broken / "models" / LAST
    newest.write_bytes(newest.read_bytes()[:5000])
    (broken / "models" / ".123-checkpoint_epoch=5.pt").write_bytes(b"killed while it was written")

    resumed = train(broken, resume=True)
    assert resumed.returncode == 0, resumed.stderr
    assert "WARNING" in resumed.stdout
    assert f"{LAST}: not a readable PyTorch file" in resumed.stdout
    assert "resumed after epoch 3 of 4" in resumed.stdout
    assert not list((broken / "models").glob(".*"))
    assert_same(*(torch.load(f / "models" / LAST, weights_only=True) for f in (unbroken, broken)))


def test_second_training_in_the_same_folder_is_refused(train, tmp_path):
    (tmp_path / "models").mkdir()
    with FileLock(tmp_path / "models" / ".training.lock"):  # as a training in another process holds it
        run = train(tmp_path, max_epochs=1)
    assert run.returncode == 1
    assert "models: another training is running in this folder; wait for it, or choose" in run.stderr.splitlines()[-1]
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".training.lock"]
    run = train(tmp_path, max_epochs=1)
    assert run.returncode == 0, run.stderr


def test_killed_between_weights_and_their_facts(train, unbroken, tmp_path):
    broken = tmp_path / "broken"
    (broken / "models").mkdir(parents=True)
    for name in ("checkpoint_epoch=3.pt", "model.pt"):
        (broken / "models" / name).write_bytes((unbroken / "models" / name).read_bytes())
    resumed = train(broken, resume=True, max_epochs=3)
    assert resumed.returncode == 0, resumed.stderr
    assert "nothing left to train" in resumed.stdout
    assert read_facts(broken / "models" / "model.pt") == read_facts(unbroken / "models" / "model.pt") != {}


def test_more_epochs_on_resume(train, unbroken, tmp_path):
    """The learning rate goes on along the longer schedule; what was trained stays."""
    longer = tmp_path / "longer"
    shutil.copytree(unbroken, longer)
    run = train(longer, resume=True, max_epochs=6)
    assert run.returncode == 0, run.stderr
    assert "resumed after epoch 4 of 6" in run.stdout
    before, after = (list(csv.DictReader((f / "epochs.csv").open())) for f in (unbroken, longer))
    assert after[:4] == before
    assert [row["epoch"] for row in after] == ["1", "2", "3", "4", "5", "6"]
    rates = [float(row["learning_rate"]) for row in after]
    assert 0 < rates[5] < rates[4] < rates[0]
    assert (longer / "models" / "checkpoint_epoch=6.pt").is_file()


def test_number_of_workers_changes_nothing(train, unbroken, tmp_path):
    run = train(tmp_path, num_workers=0)
    assert run.returncode == 0, run.stderr
    expected, found = (torch.load(f / "models" / LAST, weights_only=True)["network"] for f in (unbroken, tmp_path))
    assert_same(expected, found)


def test_fresh_start_sets_an_earlier_training_aside(train, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    for name in ("model.pt", "checkpoint_epoch=9.pt"):
        (models / name).write_bytes(b"earlier")
    run = train(tmp_path, max_epochs=1)
    assert run.returncode == 0, run.stderr
    assert sorted(p.name for p in models.iterdir()) == [
        *("checkpoint_epoch=1.pt", "model.json", "model.pt", "previous-1"),
    ]
    assert (models / "previous-1" / "checkpoint_epoch=9.pt").read_bytes() == b"earlier"
