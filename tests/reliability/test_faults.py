"""What a machine does to a program: no room, no permission, no memory, a worker killed, Ctrl-C."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.bundles.conftest import Dataset, child_environment, command_line, prepare, small
from tests.conftest import PYTHON
from tests.reliability.bad_images import good_image
from tests.reliability.bundles import small_bundle
from tests.signalled import signalled

BUNDLE = "pu_unet_kvasir"
LONGEST = 300


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return prepare(BUNDLE, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def bundle(repository, tmp_path_factory) -> Path:
    return small_bundle(repository, BUNDLE, tmp_path_factory.mktemp("bundle") / BUNDLE, image_size=32, amp=False)


@pytest.fixture
def images(tmp_path) -> Path:
    (tmp_path / "images").mkdir()
    for number in range(4):
        good_image((400, 300)).save(tmp_path / "images" / f"image{number}.png")
    return tmp_path / "images"


def without(folder: Path, line: str) -> str:
    """Return a message with a short name for the test's folder."""
    return line.replace(str(folder), "FOLDER")


def training(dataset: Dataset, folder: Path, *configs: str, **more: object) -> list[str]:
    places = {"output_dir": str(folder / "out"), "ckpt_dir": str(folder / "out" / "models")}
    options = {**small(BUNDLE), **dataset.overrides(), **places, **more}
    return [PYTHON, *command_line(BUNDLE, "training", ["train.json", *configs], options)]


def predicting(bundle: Path, images: Path, output: Path) -> list[str]:
    places = ["--bundle", bundle, "--input", images, "--output", output]
    return [PYTHON, "-m", "pu_unet_monai", "predict", *map(str, places)]


def run(command: list[str], limit: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program, with limits that it sets for itself before it begins."""
    return subprocess.run(
        command, env=child_environment(), capture_output=True, text=True, timeout=LONGEST, preexec_fn=limit
    )


def need_mounts() -> None:
    if os.geteuid() or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("a disk of its own needs root and mount namespaces")


def on_small_disk(command: list[str], disk: Path, kilobytes: int) -> subprocess.CompletedProcess[str]:
    """Run a program with a folder on a disk that holds so much; what it leaves there stays."""
    need_mounts()
    disk.mkdir()
    kept = disk.with_name("kept")
    mount, copy = (shlex.quote(str(path)) for path in (disk, kept))
    script = (
        f"mount -t tmpfs -o size={kilobytes}k tmpfs {mount} && {shlex.join(command)}; "
        f"code=$?; cp -a {mount} {copy}; exit $code"
    )
    done = run(["unshare", "--mount", "sh", "-c", script])
    shutil.rmtree(disk)
    kept.rename(disk)
    return done


def one_line(done: subprocess.CompletedProcess[str], message: str) -> str:
    """Check that a program failed, and said why in a line, for each case at most, without a traceback; return it."""
    said = done.stderr + done.stdout
    assert done.returncode not in (0, None), said
    assert "Traceback" not in said, said
    lines = [line.strip() for line in said.splitlines() if message in line]
    *_, line = [line for line in lines if line.startswith(("error: ", "failed: "))]
    return line


def assert_whole(folder: Path) -> None:
    """Check that every file under a final name can be read."""
    for path in folder.rglob("*"):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix == ".pt":
            torch.load(path, weights_only=True)
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        if path.suffix == ".csv":
            assert path.read_text().endswith("\n")


def test_disk_full_while_training(dataset, tmp_path, full, record):
    """Ended in the middle, a training goes on when there is room again."""
    sizes = range(20, 680, 60) if full else (500,)
    resumed = 0
    for kilobytes in sizes:
        disk = tmp_path / str(kilobytes)
        line = one_line(
            on_small_disk(training(dataset, disk, max_epochs=4), disk, kilobytes), "No space left on device"
        )
        assert_whole(disk)
        if list((disk / "out" / "models").glob("checkpoint*")):
            resumed += 1
            done = run(training(dataset, disk, max_epochs=4, resume=True))
            assert done.returncode == 0, done.stderr
            assert (disk / "out" / "models" / "checkpoint_epoch=4.pt").is_file()
    assert resumed
    record("faults", "disk full while training", {"tried": len(sizes), "said": without(disk, line)})


def test_disk_full_while_predicting(bundle, images, tmp_path, full, record):
    sizes = (4, 20, 40, 60, 80, 100) if full else (60,)
    for kilobytes in sizes:
        disk = tmp_path / str(kilobytes)
        done = on_small_disk(predicting(bundle, images, disk / "out"), disk, kilobytes)
        line = one_line(done, "No space left on device")
        assert_whole(disk)
    record("faults", "disk full while predicting", {"tried": len(sizes), "said": without(disk, line)})


@pytest.mark.parametrize("what", ["training", "predicting"])
def test_output_that_may_not_be_written(dataset, bundle, images, tmp_path, what, record):
    (tmp_path / "disk").mkdir()
    place = shlex.quote(str(tmp_path / "disk"))
    need_mounts()
    output = tmp_path / "disk" / "out"
    command = training(dataset, tmp_path / "disk") if what == "training" else predicting(bundle, images, output)
    script = f"mount -t tmpfs -o ro tmpfs {place} && exec {shlex.join(command)}"
    done = run(["unshare", "--mount", "sh", "-c", script])
    line = one_line(done, "Read-only file system")
    assert str(output) in line
    record("faults", f"read-only output while {what}", {"tried": 1, "said": without(tmp_path, line)})


def under_permissions(command: list[str]) -> list[str]:
    """Return a command line for which permissions count, which they do not for root."""
    return command if os.geteuid() else ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *command]


def test_images_that_may_not_be_read(bundle, images, tmp_path, record):
    """An image that nobody may read is a failed case, and the others are done."""
    (images / "image1.png").chmod(0o000)
    output = tmp_path / "out"
    done = run(under_permissions(predicting(bundle, images, output)))
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    report = json.loads((output / "report.json").read_text())
    (failure,) = report["failed"]
    assert failure["image"] == "image1.png"
    assert "Permission denied" in failure["error"]
    assert len(report["cases"]) == 3
    said = without(tmp_path, failure["error"])
    record("faults", "an image without permission to read", {"tried": 1, "said": said})


@pytest.mark.parametrize("exists", [True, False], ids=["a folder there", "a new folder"])
def test_output_without_permission(bundle, images, tmp_path, exists, record):
    (tmp_path / "out").mkdir(mode=0o555)
    output = tmp_path / "out" if exists else tmp_path / "out" / "new"
    done = run(under_permissions(predicting(bundle, images, output)))
    line = one_line(done, "Permission denied")
    assert str(output) in line
    assert not list((tmp_path / "out").iterdir())
    if not exists:
        record("faults", "an output without permission to write", {"tried": 1, "said": without(tmp_path, line)})


def test_file_that_may_not_grow(bundle, images, tmp_path, record):
    """A quota: the file that goes beyond it is an error, and none under a final name is cut."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    done = run(predicting(bundle, images, tmp_path / "out"), limit)
    line = one_line(done, "File too large")
    assert_whole(tmp_path / "out")
    record("faults", "a quota of bytes for a file", {"tried": 1, "said": without(tmp_path, line)})


LIMITED = """
import resource, runpy, sys
import monai.bundle, psutil, torch
import pu_unet_monai.handlers, pu_unet_monai.__main__, pu_unet_monai.runtime.bundle
torch.zeros(1)
used = psutil.Process().memory_info().vms
most = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (used + most, used + most))
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""A program that may have so many bytes more than it has with everything imported."""


def limited(command: list[str], megabytes: int) -> list[str]:
    """Return a ``python -m`` command line under a limit of memory."""
    return [PYTHON, "-c", LIMITED, str(megabytes * 2**20), *command[2:]]


def test_too_little_memory_for_one_image(bundle, images, tmp_path, record):
    """The case fails, the others are done."""
    Image.new("RGB", (12000, 12000)).save(images / "large.png")
    done = run(limited(predicting(bundle, images, tmp_path / "out"), 600))
    assert done.returncode == 1, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    (failure,) = report["failed"]
    assert failure["image"] == "large.png"
    assert "memory" in failure["error"] or "allocate" in failure["error"]
    assert len(report["cases"]) == 4
    assert_whole(tmp_path / "out")
    said = without(tmp_path, failure["error"])
    record("faults", "too little memory for one image of several", {"tried": 1, "said": said})


def test_too_little_memory_for_training(dataset, tmp_path, record):
    done = run(limited(training(dataset, tmp_path, image_size=1024, batch_size=16), 600))
    line = one_line(done, "not enough memory")
    assert_whole(tmp_path / "out")
    record("faults", "too little memory for a training", {"tried": 1, "said": without(tmp_path, line)})


def test_worker_killed(dataset, tmp_path, record):
    fault = tmp_path / "fault.json"
    transform = {"_target_": "tests.bundles.faults.KillWorker"}
    fault.write_text(json.dumps({"+train#preprocessing#transforms": [transform]}))
    done = run(training(dataset, tmp_path, str(fault), num_workers=2))
    line = one_line(done, "worker")
    assert_whole(tmp_path / "out")
    record("faults", "a data worker killed", {"tried": 1, "said": without(tmp_path, line)})


@pytest.fixture
def signalled_prediction(bundle, images, tmp_path):
    """What is left of a prediction of 204 images that gets a signal when a few are done."""
    for copy in range(200):
        shutil.copy(images / "image0.png", images / f"copy{copy}.png")
    output = tmp_path / "out"

    def send(number):
        begun = lambda _: len(list(output.glob("*_overlay.png"))) >= 3  # noqa: E731
        return signalled(predicting(bundle, images, output), number, begun), output

    return send


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_prediction(signalled_prediction, tmp_path, number, code, record):
    done, output = signalled_prediction(number)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert_whole(output)
    report = json.loads((output / "report.json").read_text())
    assert report["finished"]
    assert len(report["cases"]) + len(report["not_run"]) == 204
    results = {case[kind] for case in report["cases"] for kind in ("mask", "overlay")}
    assert {path.name for path in output.iterdir()} == {"report.json", *results}
    said = done.stdout.splitlines()[-1]
    assert said.startswith("interrupted; " if number == signal.SIGINT else "terminated; ")
    record("faults", f"{number.name} while predicting", {"tried": 1, "said": without(tmp_path, said)})


def test_killed_prediction(signalled_prediction):
    """Its report names no case, though some lie there, and says that it is not to be relied on."""
    done, output = signalled_prediction(signal.SIGKILL)
    assert done.returncode == -signal.SIGKILL
    assert_whole(output)
    report = json.loads((output / "report.json").read_text())
    assert not report["finished"]
    assert (len(report["cases"]), len(report["not_run"])) == (0, 204)
