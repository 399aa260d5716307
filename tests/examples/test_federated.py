"""The federated example, in NVFlare's real simulator."""

from __future__ import annotations

import csv
import importlib.util
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import data_prep.kvasir
from data_prep import phantom
from pu_unet_monai.networks.nets import PUUNet
from tests.bundles.conftest import run_python

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nvflare") is None, reason="nvflare is not installed (the extra federated)"
)

IMAGES = {"north": 40, "south": 20}
SMALL = ["--set", "image_size=32", "--set", "channels=[8,16]", "--set", "batch_size=4", "--set", "num_workers=0"]
SMALL += ["--set", "learning_rate=0.003"]


@pytest.fixture(scope="module")
def sites(tmp_path_factory) -> Path:
    """Two sites with phantoms of their own."""
    folder = tmp_path_factory.mktemp("sites")
    for seed, (site, number) in enumerate(IMAGES.items()):
        (folder / site).mkdir()
        phantom.make(folder / site / "data", layout="kvasir", number=number, size=48, seed=seed)
        paths = ["--source", str(folder / site / "data"), "--output", str(folder / site / "datalist.json")]
        assert data_prep.kvasir.main(paths) == 0
    return folder


def simulate(repository: Path, sites: Path, output: Path, *more: str):
    args = [str(repository / "examples" / "federated" / "simulate.py"), *SMALL, *more]
    args += ["--bundle", str(repository / "bundles" / "pu_unet_kvasir"), "--sites", str(sites)]
    return run_python([*args, "--output", str(output)], sites.parent)


def test_two_sites_train_one_network(repository, sites, tmp_path):
    output = tmp_path / "federated"
    run = simulate(repository, sites, output, "--rounds", "2")
    assert run.returncode == 0, run.stderr
    assert "global weights of 2 sites after 2 rounds" in run.stdout

    # what each site sent in the second round is its checkpoint of the second epoch
    sent = {site: _checkpoint(output, site, 2) for site in IMAGES}
    steps = {site: sent[site]["trainer"]["iteration"] // 2 for site in IMAGES}
    assert steps == {"north": 8, "south": 4}  # 32 and 16 images to train on, in batches of 4
    weights = torch.load(output / "models" / "model.pt", weights_only=True)
    initial = torch.load(output / "initial.pt", weights_only=True)
    first = {site: _checkpoint(output, site, 1)["network"] for site in IMAGES}
    for name, value in weights.items():
        expected = sum(steps[site] * sent[site]["network"][name] for site in IMAGES) / 12
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)
    changed = [name for name in weights if not torch.equal(weights[name], initial[name])]
    assert len(changed) == len(weights)
    assert any(not torch.equal(first["north"][name], first["south"][name]) for name in weights)
    PUUNet(channels=(8, 16)).load_state_dict(weights)

    # one cosine over both rounds, and not one a round
    for site in IMAGES:
        rows = list(csv.DictReader((output / "sites" / site / "epochs.csv").open()))
        assert [float(row["learning_rate"]) for row in rows] == pytest.approx([0.003, 0.0015])

    # the global weights segment the images that no site trained on
    test = json.loads((sites / "north" / "datalist.json").read_text())["test"]
    images = tmp_path / "images"
    images.mkdir()
    for entry in test:
        path = sites / "north" / "data" / entry["image"]
        (images / path.name).write_bytes(path.read_bytes())
    bundle = str(repository / "bundles" / "pu_unet_kvasir")
    args = ["predict", "--bundle", bundle, "--input", str(images), "--output", str(tmp_path / "masks"), *SMALL[:4]]
    run = run_python(["-m", "pu_unet_monai", *args, "--set", f"ckpt_dir={output / 'models'}"], tmp_path)
    assert run.returncode == 0, run.stderr
    for entry in test:
        truth = np.asarray(Image.open(sites / "north" / "data" / entry["label"]).convert("L")) > 127
        mask = np.asarray(Image.open(tmp_path / "masks" / f"{Path(entry['image']).stem}.png")) > 0
        assert np.isfinite(2 * (truth & mask).sum() / (truth.sum() + mask.sum()))


def _checkpoint(output: Path, site: str, epoch: int) -> dict:
    return torch.load(output / "sites" / site / "models" / f"checkpoint_epoch={epoch}.pt", weights_only=True)


def test_bad_image_at_a_site_is_named(repository, sites, tmp_path):
    bad = tmp_path / "sites"
    for site in IMAGES:
        (bad / site).mkdir(parents=True)
        (bad / site / "datalist.json").write_bytes((sites / site / "datalist.json").read_bytes())
        for path in (sites / site / "data").rglob("*.*"):
            copy = bad / site / "data" / path.relative_to(sites / site / "data")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    entry = json.loads((bad / "south" / "datalist.json").read_text())["training"][0]
    (bad / "south" / "data" / entry["image"]).write_text("no image")
    run = simulate(repository, bad, tmp_path / "federated")
    assert run.returncode == 2
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("error: site south: ")
    assert f"{entry['image']}: not a readable image" in last
    assert not (tmp_path / "federated" / "models").exists()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (["--set", "imagesize=32"], "has no key imagesize (did you mean image_size?)"),
        (["--rounds", "0"], "--rounds 0 --local-epochs 1: both must be 1 or more"),
        (["--sites", "{sites}/north"], "/north: expected a folder for each of two sites or more, found ['data']"),
        (["--output", "{sites}"], "exists, or has a space in its path; choose another folder"),
        (["--bundle", "{sites}"], "not a bundle that can be trained, there is no"),
    ],
)
def test_wrong_use_is_one_line(repository, sites, tmp_path, capsys, wrong, expected):
    options = {
        "--bundle": str(repository / "bundles" / "pu_unet_kvasir"),
        "--sites": str(sites),
        "--output": str(tmp_path / "out"),
    }
    option, value = wrong
    options[option] = value.format(sites=sites)
    args = [word for pair in options.items() for word in pair]
    main = runpy.run_path(str(repository / "examples" / "federated" / "simulate.py"))["main"]
    assert main(args) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert expected in line
    assert not (tmp_path / "out").exists()


def test_sites_without_data_are_all_named(repository, tmp_path):
    for site in ("east", "west"):
        (tmp_path / "sites" / site).mkdir(parents=True)
    run = simulate(repository, tmp_path / "sites", tmp_path / "out")
    assert run.returncode == 2
    lines = run.stderr.splitlines()
    assert [line for line in lines if line.startswith("error: site east: datalist_file ")]
    assert [line for line in lines if line.startswith("site west: datalist_file ")]
