"""Many cases, and many epochs, in one program: memory, open files and processes stay as they were."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from data_prep import volume_phantom
from pu_unet_monai.__main__ import main
from tests.bundles.conftest import child_environment, command_line, prepare, small
from tests.conftest import PYTHON
from tests.reliability.bundles import small_bundle

SECONDS_BETWEEN = 0.1
GROWTH = 0.05


@dataclass
class Usage:
    """What a program holds while it works, looked at ten times a second."""

    folder: Path
    pattern: str
    number: Callable[[Path], int] | None = None
    """What a file of the pattern counts. Defaults to each as one."""
    finished: list[int] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    processes: list[int] = field(default_factory=list)

    def watch(self, command: list[str], temporary: Path, seconds: float) -> None:
        """Run a program to its end, which must be a good one.

        Args:
            command: the program and its arguments.
            temporary: the folder that it takes for temporary files, which must be empty in the end.
            seconds: how long it may take.
        """
        temporary.mkdir()
        environment = child_environment() | {"TMPDIR": str(temporary)}
        log = temporary.with_suffix(".log")
        deadline = time.monotonic() + seconds
        with log.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as process:
            seen = psutil.Process(process.pid)
            while process.poll() is None:
                assert time.monotonic() < deadline, log.read_text()
                self._look(seen)
                time.sleep(SECONDS_BETWEEN)
        assert process.returncode == 0, log.read_text()
        left = {path.name for path in temporary.iterdir()}
        assert not {name for name in left if not name.startswith("torchinductor")}  # PyTorch's cache, empty

    def _look(self, process: psutil.Process) -> None:
        try:
            found = process.memory_info().rss, process.num_fds(), len(process.children(recursive=True))
        except psutil.NoSuchProcess:
            return
        paths = list(self.folder.glob(self.pattern))
        finished = len(paths) if self.number is None else max(map(self.number, paths), default=0)
        if finished:
            for values, value in zip((self.resident, self.files, self.processes), found, strict=True):
                values.append(value)
            self.finished.append(finished)

    def growth(self) -> float:
        """Return by which part of itself the memory grew from the second tenth of the work to the last."""
        return self._during(0.9, 1.0) / self._during(0.1, 0.2) - 1

    def _during(self, begin: float, end: float) -> float:
        most = max(self.finished)
        chosen = [
            resident
            for resident, finished in zip(self.resident, self.finished, strict=True)
            if begin * most <= finished <= end * most
        ]
        return statistics.median(chosen)

    def assert_flat(self) -> None:
        assert self.growth() < GROWTH, self.resident
        first = len(self.files) // 4 + 1
        assert max(self.files[-10:]) <= max(self.files[:first]) + 2, self.files
        assert max(self.processes[-10:]) <= max(self.processes[:first]), self.processes


def make_images(folder: Path, number: int) -> None:
    """Write small images of many sizes, no two alike."""
    folder.mkdir()
    generator = np.random.default_rng(7)
    for case in range(number):
        height, width = generator.integers(24, 80, 2)
        coarse = generator.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((int(width), int(height))).save(folder / f"case_{case:04d}.png")


def predicting(bundle: Path, source: Path, output: Path) -> list[str]:
    places = {"--bundle": bundle, "--input": source, "--output": output}
    return ["predict", *(str(word) for option in places.items() for word in option)]


def test_many_images(repository, tmp_path, full, record):
    number, alone = (1000, 50) if full else (60, 4)
    images = tmp_path / "images"
    make_images(images, number)
    bundle = small_bundle(repository, "pu_unet_kvasir", tmp_path / "pu_unet_kvasir", image_size=32)
    usage = predict_all(bundle, images, tmp_path, "*_overlay.png", full)
    assert_alone_is_the_same(bundle, sorted(images.iterdir())[:: number // alone], tmp_path, "*.png")
    record("load", "images", {"cases": number, "growth": usage.growth(), "compared": alone})


def test_many_volumes(repository, tmp_path, full, record):
    number, alone = (200, 10) if full else (8, 2)
    volume_phantom.make(tmp_path / "brats", "decathlon", number=number, shape=(24, 28, 20))
    volumes = tmp_path / "brats" / "imagesTr"
    sizes = {"roi_size": [16, 16, 16], "runtime": "eager"}
    bundle = small_bundle(repository, "pu_unet_brats", tmp_path / "pu_unet_brats", **sizes)
    usage = predict_all(bundle, volumes, tmp_path, "*_seg.nii.gz", full)
    assert_alone_is_the_same(bundle, sorted(volumes.glob("*.nii.gz"))[:: number // alone], tmp_path, "*_seg.nii.gz")
    record("load", "volumes", {"cases": number, "growth": usage.growth(), "compared": alone})


def predict_all(bundle: Path, source: Path, folder: Path, pattern: str, flat: bool) -> Usage:
    """Segment a folder in one go, and check what is left of it."""
    output = folder / "out"
    usage = Usage(output, pattern)
    command = [PYTHON, "-m", "pu_unet_monai", *predicting(bundle, source, output)]
    usage.watch(command, folder / "temporary", seconds=3600)
    report = json.loads((output / "report.json").read_text())
    assert not report["failed"]
    assert len(report["cases"]) == len(list(output.glob(pattern))) == len(list(source.iterdir()))
    assert not list(output.glob(".*"))
    if flat:  # few cases are too short a time to tell
        usage.assert_flat()
    return usage


def assert_alone_is_the_same(bundle: Path, cases: list[Path], folder: Path, pattern: str) -> None:
    """Segment cases one by one: their files are those of the whole folder, byte by byte."""
    for case in cases:
        place = folder / "alone" / case.name
        assert main(predicting(bundle, case, place)) == 0
        files = list(place.glob(pattern))
        assert files
        for file in files:
            assert file.read_bytes() == (folder / "out" / file.name).read_bytes()


def test_many_epochs(tmp_path, full, record):
    epochs = 400 if full else 8
    dataset = prepare("pu_unet_kvasir", tmp_path)
    output = tmp_path / "out"
    places = {"output_dir": str(output), "ckpt_dir": str(output / "models")}
    options = {**small("pu_unet_kvasir"), **dataset.overrides(), **places, "max_epochs": epochs, "num_workers": 2}
    usage = Usage(output / "models", "checkpoint_epoch=*.pt", lambda path: int(path.stem.partition("=")[2]))
    command = [PYTHON, *command_line("pu_unet_kvasir", "training", ["train.json"], options)]
    usage.watch(command, tmp_path / "temporary", seconds=3600)
    assert len((output / "epochs.csv").read_text().splitlines()) == epochs + 1
    if full:
        usage.assert_flat()
    record("load", "epochs", {"epochs": epochs, "growth": usage.growth()})
