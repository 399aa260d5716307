"""Small phantom datasets in the layouts of the real ones, and the real ``monai.bundle`` commands on them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

import data_prep.busi
import data_prep.isic2017
import data_prep.isic2018
import data_prep.kvasir
from data_prep import phantom

REPOSITORY = Path(__file__).parents[2]
PREPARE = {
    "pu_unet_busi": data_prep.busi.main,
    "pu_unet_isic2018": data_prep.isic2018.main,
    "pu_unet_kvasir": data_prep.kvasir.main,
    "r2_unet_isic2017": data_prep.isic2017.main,
}
BUNDLES = sorted(PREPARE)
PU_BUNDLES = [bundle for bundle in BUNDLES if bundle.startswith("pu_")]
SMALL = {"image_size": 32, "channels": [8, 16], "batch_size": 4, "max_epochs": 2, "num_workers": 0}
"""Overrides that make a training last a second."""


def default(value: object) -> object:
    """Return what a key of inference.json is where the weights say nothing of it."""
    if not str(value).startswith("$trained_with("):
        return value
    return ast.literal_eval(str(value).split(", ", 2)[2].removesuffix(")"))


def small(bundle: str) -> dict[str, object]:
    """``SMALL``, with widths that the bundle's network takes: attention gates halve them."""
    return SMALL if bundle in PU_BUNDLES else SMALL | {"channels": [16, 32]}


@dataclass(frozen=True)
class Dataset:
    """A dataset on disk and its datalist."""

    folder: Path
    datalist: Path

    def overrides(self) -> dict[str, str]:
        return {"dataset_dir": str(self.folder), "datalist_file": str(self.datalist)}


def prepare(bundle: str, folder: Path, number: int = 30) -> Dataset:
    """Make a phantom dataset in the layout that the bundle's data_prep module reads, and its datalist."""
    layout = bundle.rpartition("_")[2]
    dataset = Dataset(folder / layout, folder / f"{layout}.json")
    phantom.make(dataset.folder, layout=layout, number=number, size=48)
    for path in dataset.folder.rglob("*.*"):
        with Image.open(path) as image:
            image.load()
        image.crop((0, 0, 48, 36)).save(path)  # real images are not square
    assert PREPARE[bundle](["--source", str(dataset.folder), "--output", str(dataset.datalist)]) == 0
    return dataset


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Dataset]:
    """Give the phantom dataset of a bundle, made on first use."""
    made: dict[str, Dataset] = {}

    def get(bundle: str) -> Dataset:
        if bundle not in made:
            made[bundle] = prepare(bundle, tmp_path_factory.mktemp("data"))
        return made[bundle]

    return get


def command_line(bundle: str, run_id: str, configs: list[str], overrides: dict[str, object]) -> list[str]:
    """The arguments after ``python`` that run a bundle."""
    folder = REPOSITORY / "bundles" / bundle
    files = [name if "/" in name else str(folder / "configs" / name) for name in configs]
    args = ["-m", "monai.bundle", "run", *([run_id] if run_id else []), "--bundle_root", str(folder)]
    args += ["--config_file", str(files)]
    for key, value in overrides.items():
        args += [f"--{key}", value if isinstance(value, str) else repr(value)]  # as Fire reads it: True, not true
    return args


def run_python(args: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python as a user would, in ``cwd``."""
    env = child_environment() | environment
    return subprocess.run([sys.executable, *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def child_environment() -> dict[str, str]:
    """The environment in which Python finds the package and the tests from any folder."""
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def run_bundle(
    bundle: str, run_id: str, configs: list[str], overrides: dict[str, object], cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m monai.bundle run`` and return what it printed."""
    return run_python(command_line(bundle, run_id, configs, overrides), cwd)
