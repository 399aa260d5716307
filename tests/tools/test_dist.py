"""What ``make dist`` makes is all that another machine needs beside the dependencies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pu_unet_monai import __version__
from pu_unet_monai.errors import UserError
from tests.conftest import PYTHON
from tools import bundle_zips

pytest.importorskip("setuptools", minversion="77", reason="setuptools 77 or later is not installed")
if shutil.which("git") is None:
    pytest.skip("git is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def dist(repository, tmp_path_factory) -> Path:
    """The wheel and the zips, by the commands of ``make dist``; the wheel from a copy, as building writes there."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    for name in ("pu_unet_monai", "data_prep"):
        shutil.copytree(repository / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, source)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder / "dist"), str(source)]
    subprocess.run(command, check=True, cwd=folder)
    assert bundle_zips.main(["--output", str(folder / "dist")]) == 0
    return folder / "dist"


@pytest.fixture(scope="module")
def machine(dist, tmp_path_factory) -> Path:
    """A folder with what the wheel installs in ``site``, and the unzipped bundles."""
    folder = tmp_path_factory.mktemp("machine")
    (wheel,) = dist.glob("*.whl")
    command = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--target"]
    subprocess.run([sys.executable, "-m", "pip", *command, str(folder / "site"), str(wheel)], check=True)
    for path in dist.glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    return folder


def run(machine: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run Python there, with the wheel before everything else and no checkout in sight."""
    env = os.environ | {"PYTHONPATH": str(machine / "site"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [PYTHON, *args], cwd=machine, env=env, capture_output=True, text=True, check=True, timeout=300
    )


def test_one_wheel_and_a_zip_of_each_bundle(dist, repository):
    names = {path.parent.name for path in (repository / "bundles").glob("*/configs")}
    assert len(names) >= 5
    versions = {
        name: json.loads((repository / "bundles" / name / "configs" / "metadata.json").read_text())["version"]
        for name in names
    }
    zips = {f"{name}-v{version}.zip" for name, version in versions.items()}
    assert {path.name for path in dist.iterdir()} == zips | {f"pu_unet_monai-{__version__}-py3-none-any.whl"}


def test_zips_hold_what_git_tracks_and_nothing_else(dist, repository):
    for path in dist.glob("*.zip"):
        name = path.name.partition("-v")[0]
        command = ["git", "ls-files", f"bundles/{name}"]
        tracked = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            assert [f"bundles/{entry}" for entry in archive.namelist()] == sorted(tracked.split())
            assert f"{name}/LICENSE" in archive.namelist()


def test_files_of_ones_own_stay_out_and_bytes_repeat(repository, tmp_path):
    bundle = tmp_path / "checkout" / "bundles" / "own"
    (bundle / "configs").mkdir(parents=True)
    (bundle / "models").mkdir()
    (bundle / "configs" / "metadata.json").write_text('{"version": "2.0.1"}')
    git = ["git", "-c", "init.defaultBranch=main"]
    subprocess.run([*git, "init", "--quiet"], cwd=tmp_path / "checkout", check=True)
    subprocess.run([*git, "add", "."], cwd=tmp_path / "checkout", check=True)
    (bundle / "models" / "model.pt").write_bytes(b"weights of a hospital")
    first = bundle_zips.write_zip(bundle, tmp_path / "one")
    os.utime(bundle / "configs" / "metadata.json", (1, 1))
    second = bundle_zips.write_zip(bundle, tmp_path / "two")
    assert first.name == "own-v2.0.1.zip"
    assert zipfile.ZipFile(first).namelist() == ["own/configs/metadata.json"]
    assert first.read_bytes() == second.read_bytes()
    (bundle / "configs" / "metadata.json").rename(bundle / "elsewhere")
    with pytest.raises(UserError, match=r"tracked by git, but missing: .*metadata\.json"):
        bundle_zips.tracked_files(bundle)
    (tmp_path / "plain").mkdir()
    with pytest.raises(UserError, match="git cannot list its files"):
        bundle_zips.tracked_files(tmp_path / "plain")


def test_wheel_has_every_module(machine, repository):
    """A package that ``setup.cfg`` forgot would be missing."""
    for package in ("pu_unet_monai", "data_prep"):
        expected = {path.relative_to(repository) for path in (repository / package).rglob("*.py")}
        assert {path.relative_to(machine / "site") for path in (machine / "site" / package).rglob("*.py")} == expected
    assert (machine / "site" / "pu_unet_monai" / "py.typed").is_file()
    assert not {"tests", "tools", "experiments", "benchmarks"} & {p.name for p in (machine / "site").iterdir()}


def test_predict_with_the_wheel_alone(machine):
    where = run(machine, "-c", "import data_prep, pu_unet_monai; print(data_prep.__file__, pu_unet_monai.__file__)")
    assert all(path.startswith(str(machine / "site")) for path in where.stdout.split())
    size = ["--number", "1", "--size", "40"]
    run(machine, "-m", "data_prep.volume_phantom", "--output", "heads", "--layout", "brats", *size)
    options = ["--bundle", "pu_unet_brats", "--input", "heads", "--output", "out"]
    printed = run(machine, "-m", "pu_unet_monai", "predict", *options).stdout
    assert "1 of 1 cases segmented" in printed
    report = json.loads((machine / "out" / "report.json").read_text())
    assert "a demonstration from four heads and CPU hours, of no other use" in report["weights_note"]
    assert len(list((machine / "out").glob("*_seg.nii.gz"))) == 1


def test_monai_loads_the_unzipped_bundle(machine):
    code = (
        "import monai; net = monai.bundle.load('pu_unet_brats', bundle_dir='.', workflow_type='inference'); "
        "print(type(net).__module__, sum(p.numel() for p in net.parameters()), net.head.bias.tolist())"
    )
    printed = run(machine, "-c", code).stdout
    assert "pu_unet_monai.networks.nets.pu_unet 10444487" in printed
    assert "[0.0, 0.0, 0.0]" not in printed
