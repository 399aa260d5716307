"""Trainings that are killed at any moment and resumed are the training that was never killed, byte by byte."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import data_prep.brats
from data_prep import volume_phantom
from tests.bundles.conftest import BUNDLES, Dataset, child_environment, command_line, prepare, small

EPOCHS, MORE_EPOCHS = 8, 12
BRATS = {"channels": [8, 16], "roi_size": [16, 16, 16], "batch_size": 2, "finetune_epochs": 2}
LONGEST = 300
"""Seconds after which a training counts as hanging."""
KILLS, KILLS_OF_MORE = 20, 4


class Training:
    """A training of a bundle in a folder of its own, started as often as it takes."""

    def __init__(self, bundle: str, dataset: Dataset, folder: Path) -> None:
        self.bundle, self.dataset, self.folder = bundle, dataset, folder
        self.folder.mkdir()
        self.begun = self.folder / "models" / ".training.lock"
        self.epochs = EPOCHS

    def start(self, *configs: Path) -> subprocess.Popen[bytes]:
        """Start, or resume."""
        self.begun.unlink(missing_ok=True)
        sizes = BRATS if self.bundle == "pu_unet_brats" else small(self.bundle)
        places = {"output_dir": str(self.folder), "ckpt_dir": str(self.folder / "models")}
        options = {**sizes, "max_epochs": self.epochs, "num_workers": 2, "resume": True}
        options |= self.dataset.overrides() | places
        files = ["train.json", *map(str, configs)]
        log = (self.folder / "log.txt").open("ab")
        command = [sys.executable, *command_line(self.bundle, "training", files, options)]
        return subprocess.Popen(command, env=child_environment(), stdout=log, stderr=log)

    def wait_until_begun(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the first epoch is about to begin."""
        deadline = time.monotonic() + LONGEST
        while not self.begun.exists() and process.poll() is None:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def finish(self) -> float:
        """Train to the end, and return the seconds from the first epoch on."""
        process = self.start()
        self.wait_until_begun(process)
        begun = time.monotonic()
        assert process.wait(LONGEST) == 0, self.log
        return time.monotonic() - begun

    def is_killed_after(self, seconds: float) -> bool:
        """Start, and kill as the out-of-memory killer does so long after the first epoch began, unless it is done."""
        process = self.start()
        self.wait_until_begun(process)
        try:
            assert process.wait(seconds) == 0, self.log
            return False
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return True

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def files(self) -> dict[str, Any]:
        """What a training leaves, but for its seconds."""
        models = self.folder / "models"
        found: dict[str, Any] = {path.name: path.read_bytes() for path in models.iterdir()}
        found["epochs.csv"] = list(csv.DictReader((self.folder / "epochs.csv").open()))
        for row in found["epochs.csv"]:
            del row["seconds"]
        return found


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Callable[[str], Dataset]:
    def get(bundle: str) -> Dataset:
        folder = tmp_path_factory.mktemp("data")
        if bundle != "pu_unet_brats":
            return prepare(bundle, folder)
        made = Dataset(folder / "brats", folder / "datalist.json")
        volume_phantom.make(made.folder, "brats", number=6, shape=(32, 36, 28))
        assert data_prep.brats.main(["--source", str(made.folder), "--output", str(made.datalist)]) == 0
        return made

    return get


@pytest.mark.parametrize("bundle", [*BUNDLES, "pu_unet_brats"])
def test_killed_at_random_moments(bundle, data, tmp_path, full, record):
    if not full and bundle != "pu_unet_kvasir":
        pytest.skip("one bundle stands for all (make test-all tries each)")
    kills, dataset, generator = KILLS if full else 2, data(bundle), random.Random(bundle)
    unbroken = Training(bundle, dataset, tmp_path / "unbroken")
    seconds = unbroken.finish()
    expected = unbroken.files()

    runs, done = 0, 0
    while done < kills:
        runs += 1
        broken = Training(bundle, dataset, tmp_path / f"broken_{runs}")
        while done < kills and broken.is_killed_after(generator.uniform(0, seconds)):
            done += 1
        broken.finish()
        assert broken.files() == expected
    record("kills", bundle, {"kills": done, "trainings": runs})


@pytest.mark.parametrize("bundle", [*BUNDLES, "pu_unet_brats"])
def test_killed_while_more_epochs_are_trained(bundle, data, tmp_path, full, record):
    if not full:
        pytest.skip("make test-all kills it; test_more_epochs_on_resume raises max_epochs alone")
    dataset, generator = data(bundle), random.Random(bundle)
    unbroken, broken = (Training(bundle, dataset, tmp_path / name) for name in ("unbroken", "broken"))
    for training in (unbroken, broken):
        training.finish()
        training.epochs = MORE_EPOCHS
    seconds = unbroken.finish()
    kills = 0
    while kills < KILLS_OF_MORE and broken.is_killed_after(generator.uniform(0, seconds)):
        kills += 1
    broken.finish()
    assert broken.files() == unbroken.files()
    assert [row["epoch"] for row in broken.files()["epochs.csv"]] == [str(1 + n) for n in range(MORE_EPOCHS)]
    record("kills", f"{bundle}, max_epochs raised", {"kills": kills, "trainings": 1})


def test_killed_while_a_checkpoint_is_written(data, tmp_path, record):
    dataset = data("pu_unet_kvasir")
    unbroken = Training("pu_unet_kvasir", dataset, tmp_path / "unbroken")
    unbroken.finish()
    broken = Training("pu_unet_kvasir", dataset, tmp_path / "broken")
    for number in (1, 6):  # of the files that are written: weights and checkpoints
        fault = tmp_path / f"fault_{number}.json"
        handler = {"_target_": "tests.bundles.faults.KillInWrite", "number": number}
        fault.write_text(json.dumps({"+train#handlers": [handler]}))
        process = broken.start(fault)
        assert process.wait(LONGEST) == -9, broken.log
        cut = list((broken.folder / "models").glob(".*.pt"))
        assert len(cut) == 1
        assert cut[0].stat().st_size == 1000
    broken.finish()
    assert broken.files() == unbroken.files()
    record("kills", "while a file is written", {"kills": 2, "trainings": 1})
