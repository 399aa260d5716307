"""``predict`` by ``torchrun``: two processes share out a folder, and leave what one leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data_prep import volume_phantom
from pu_unet_monai.networks.nets import PUUNet
from tests.bundles.conftest import run_python

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def copy_bundle(repository: Path, name: str, folder: Path, small: dict[str, object]) -> Path:
    """Copy a bundle at a small width, with random weights."""
    bundle = folder / name
    ignored = shutil.ignore_patterns("*.pt", "output", "data")
    shutil.copytree(repository / "bundles" / name, bundle, ignore=ignored)
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"channels": [8, 16], "amp": False, **small}))
    torch.manual_seed(0)
    kwargs = config["network_def"] | {"channels": (8, 16)}
    network = PUUNet(**{key: kwargs[key] for key in ("spatial_dims", "in_channels", "out_channels", "channels")})
    (bundle / "models").mkdir(exist_ok=True)
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    return bundle


@pytest.fixture
def images(repository, tmp_path) -> tuple[Path, Path]:
    """A bundle, and five images, one of them bad."""
    folder = tmp_path / "images"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in "abde":
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    (folder / "c.png").write_text("no image")
    return copy_bundle(repository, "pu_unet_kvasir", tmp_path, {"image_size": 32}), folder


@pytest.fixture
def heads(repository, tmp_path) -> tuple[Path, Path]:
    """A bundle, and three heads."""
    volume_phantom.make(tmp_path / "heads", "brats", number=3, shape=(32, 36, 28))
    return copy_bundle(repository, "pu_unet_brats", tmp_path, {"roi_size": [16, 16, 16]}), tmp_path / "heads"


@pytest.fixture
def studies(repository, tmp_path) -> tuple[Path, Path]:
    """A bundle, and two DICOM studies."""
    pytest.importorskip("highdicom", reason="highdicom is not installed (extra dicom)")
    volume_phantom.make(tmp_path / "studies", "dicom", number=2, shape=(32, 36, 28))
    return copy_bundle(repository, "pu_unet_brats", tmp_path, {"roi_size": [16, 16, 16]}), tmp_path / "studies"


def predict(launcher: list[str], bundle: Path, images: Path, output: Path, *more: str):
    args = ["predict", "--bundle", str(bundle), "--input", str(images), "--output", str(output), *more]
    return run_python([*launcher, "-m", "pu_unet_monai", *args], images.parent)


def content(path: Path) -> bytes:
    """All of a file, but of DICOM, which notes the time, the voxels."""
    if path.suffix != ".dcm":
        return path.read_bytes()
    import pydicom

    return pydicom.dcmread(path).PixelData


def report_without_measurements(folder: Path) -> dict:
    report = json.loads((folder / "report.json").read_text())
    assert report.pop("peak_memory_mb") > 100
    assert all(case.pop("seconds") > 0 for case in report["cases"])
    for case in report["cases"]:  # each process compares its runtime on the first case that it meets
        if case.get("runtime"):
            assert case["runtime"].pop("difference") < 1e-3
    return report


@pytest.mark.parametrize(("data", "code", "number"), [("images", 1, 9), ("heads", 0, 7), ("studies", 0, 7)])
def test_two_processes_leave_what_one_leaves(request, tmp_path, data, code, number):
    bundle, folder = request.getfixturevalue(data)
    one, two = tmp_path / "one", tmp_path / "two"
    alone = predict([], bundle, folder, one)
    shared = predict(TORCHRUN, bundle, folder, two)
    assert alone.returncode == shared.returncode == code, shared.stderr
    assert shared.stdout == alone.stdout.replace(str(one), str(two))  # one summary
    files = sorted(path.name for path in one.iterdir())
    assert len(files) == number
    assert sorted(path.name for path in two.iterdir()) == files
    for name in set(files) - {"report.json"}:
        assert content(one / name) == content(two / name), name
    report = report_without_measurements(one)
    assert report_without_measurements(two) == report
    found = [case.get("foreground_share") or max(case["volumes_ml"].values()) for case in report["cases"]]
    assert all(found)  # else equal files would say little
    if code:
        assert f"1 cases failed, see {two}/report.json" in shared.stderr.partition("Root Cause")[2]
    else:
        assert "Traceback" not in shared.stderr


def test_more_processes_than_cases(images, tmp_path):
    bundle, folder = images
    run = predict(TORCHRUN, bundle, folder / "b.png", tmp_path / "out")
    assert run.returncode == 0, run.stderr
    assert "1 of 1 cases segmented" in run.stdout
    assert [case["case"] for case in json.loads((tmp_path / "out" / "report.json").read_text())["cases"]] == ["b"]


def test_a_process_that_dies_ends_the_others(images, tmp_path):
    """What was written stays, each file whole; the report is unfinished."""
    bundle, folder = images
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["imports"].append("$import tests.bundles.faults")
    config["postprocessing"]["transforms"].insert(0, {"_target_": "tests.bundles.faults.KillRank", "rank": 1})
    path.write_text(json.dumps(config))
    run = predict(TORCHRUN, bundle, folder, tmp_path / "out", "--trust")
    assert run.returncode == 1
    assert "SIGKILL" in run.stderr
    assert "cases segmented" not in run.stdout
    names = {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
    masks = {f"{stem}{end}.png" for stem in "ae" for end in ("", "_overlay")}  # shares of the first process
    assert names <= {"report.json", *masks}
    assert not json.loads((tmp_path / "out" / "report.json").read_text())["finished"]


def test_wrong_use_is_one_line(images, tmp_path):
    bundle, folder = images
    run = predict(TORCHRUN, bundle, folder, tmp_path / "out", "--set", "imagesize=64")
    assert run.returncode == 1  # torchrun knows no other
    assert run.stderr.count("Traceback") == 1  # of torchrun itself
    assert "has no key imagesize (did you mean image_size?)" in run.stderr.partition("Root Cause")[2]
    assert not (tmp_path / "out").exists()
