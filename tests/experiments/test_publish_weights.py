"""Publishing the weights of a small training in a copy of a bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from experiments import publish_weights
from pu_unet_monai.__main__ import main
from pu_unet_monai.evaluation.scores import read_rows, summarise
from tests.bundles.conftest import REPOSITORY, Dataset, prepare

SETTINGS = ("max_epochs=2", "image_size=32", "channels=[8,16]", "batch_size=8", "num_workers=0")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return prepare("pu_unet_kvasir", tmp_path_factory.mktemp("data"), number=40)


@pytest.fixture(scope="module")
def comparison(dataset, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("comparison")
    options = ["compare", "--bundle", REPOSITORY / "bundles" / "pu_unet_kvasir", "--dataset-dir", dataset.folder]
    options += ["--datalist", dataset.datalist, "--output", output, "--vary", "placement=all"]
    assert main([*map(str, options), *(text for setting in SETTINGS for text in ("--set", setting))]) == 0
    return output


@pytest.fixture
def cell(comparison, tmp_path) -> Path:
    shutil.copytree(comparison, tmp_path / "comparison")
    return tmp_path / "comparison" / "placement=all" / "seed_0"


@pytest.fixture
def bundle(tmp_path) -> Path:
    ignored = shutil.ignore_patterns("model.pt", "model.json", "weights.*", "scores.csv", "epochs.csv")
    shutil.copytree(REPOSITORY / "bundles" / "pu_unet_kvasir", tmp_path / "pu_unet_kvasir", ignore=ignored)
    return tmp_path / "pu_unet_kvasir"


def publish(cell: Path, bundle: Path, *more: str) -> int:
    return publish_weights.main(["--cell", str(cell), "--bundle", str(bundle), *more])


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_record_is_of_the_weights_that_are_published(cell, bundle, dataset, tmp_path):
    assert publish(cell, bundle, "--note", "small") == 0
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    trained = torch.load(cell / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(weights[key], value.half()) for key, value in trained.items())
    record = json.loads((bundle / "docs" / "weights.json").read_text())
    assert record["trained_with"]["placement"] == "all"
    assert record["training"]["epochs"] == 2
    assert record["training"]["machine"]["torch"] == torch.__version__
    assert record["datalist"]["images"] == {"training": 32, "validation": 4, "test": 4}
    assert record["scores"] == json.loads(json.dumps(summarise(read_rows(bundle / "docs" / "scores.csv"))))
    assert {row["seed"] for row in read_rows(bundle / "docs" / "scores.csv")} == {"0"}  # the bundle's own is 42
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["eval_metrics"]["test_dice"] == round(record["scores"]["dice"]["mean"], 4)
    assert metadata["weights_notes"][record["weights_sha256"]].endswith("; small")

    text = (bundle / "docs" / "weights.md").read_text()
    assert "32 to train, 4 to choose the epoch, 4 for test" in text
    assert f"| dice | 4 | {record['scores']['dice']['mean']:.3f} |" in text
    assert "\n- small\n" in text

    places = ["--dataset-dir", dataset.folder, "--datalist", dataset.datalist, "--output", tmp_path / "report"]
    assert main(["evaluate", "--bundle", str(bundle), *map(str, places), "--set", "num_workers=0"]) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["scores"] == record["scores"]
    assert "The training" in (tmp_path / "report" / "report.html").read_text()  # from docs/epochs.csv


@pytest.mark.parametrize("lost", ["done.json", "epochs.csv", "models/model.json", "the dataset"])
def test_nothing_of_the_bundle_changes_when_something_is_missing(cell, bundle, tmp_path, capfd, lost):
    before = content(bundle)
    if lost == "the dataset":
        assert publish(cell, bundle, "--dataset-dir", str(tmp_path / "nowhere")) == 2
    else:
        (cell / lost).unlink()
        assert publish(cell, bundle) == 2
    error = capfd.readouterr().err
    assert ("nowhere" if lost == "the dataset" else lost) in error
    assert "Traceback" not in error
    assert content(bundle) == before


def test_weights_of_another_network_are_refused(cell, bundle, capsys):
    path = cell / "models" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"network": "unet"}))
    assert publish(cell, bundle) == 2
    assert "not of the bundle's own network, but unet" in capsys.readouterr().err
