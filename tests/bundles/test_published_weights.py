"""The weights in the bundles: what they are, and that they give again what their record says."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path

import pytest
import torch

from experiments.weights_record import markdown
from pu_unet_monai.__main__ import main
from pu_unet_monai.files import file_sha256
from pu_unet_monai.runtime.bundle import TrainedBundle
from tests.conftest import FULL, REPOSITORY

RECORDS = {path.parents[1].name: path for path in sorted(REPOSITORY.glob("bundles/*/docs/weights.json"))}
DATA = {
    "pu_unet_kvasir": ("kvasir", "Kvasir-SEG"),
    "pu_unet_busi": ("busi", "Dataset_BUSI_with_GT"),
    "pu_unet_isic2018": ("isic2018", "ISIC2018"),
    "r2_unet_isic2017": ("isic2018", "ISIC2018"),
}
IN_FULL_ALONE = {"r2_unet_isic2017"}
"""The images are those of pu_unet_isic2018, and take a minute."""
LARGEST = 30_000_000

pytestmark = pytest.mark.skipif(not RECORDS, reason="no bundle has weights with a record yet")


@pytest.mark.parametrize("name", RECORDS)
def test_weights_are_those_of_the_record(name: str) -> None:
    record = json.loads(RECORDS[name].read_text())
    path = REPOSITORY / "bundles" / name / "models" / "model.pt"
    assert file_sha256(path) == record["weights_sha256"]
    assert path.stat().st_size < LARGEST
    weights = torch.load(path, weights_only=True)
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float16}
    facts = json.loads(path.with_suffix(".json").read_text())
    assert facts == record["trained_with"] | {"weights_sha256": record["weights_sha256"]}
    bundle = TrainedBundle(REPOSITORY / "bundles" / name)
    assert record["weights_sha256"] in bundle.metadata["weights_notes"]
    assert record["licence"]
    means = {f"test_{key}": round(score["mean"], 4) for key, score in record["scores"].items()}
    assert bundle.metadata["eval_metrics"].items() >= means.items()
    assert RECORDS[name].with_suffix(".md").read_text() == markdown(record) + "\n"


@pytest.mark.real_data
@pytest.mark.parametrize("name", [name for name in RECORDS if name in DATA and (FULL or name not in IN_FULL_ALONE)])
def test_evaluating_them_gives_the_recorded_scores(name: str, data_dir: Path, tmp_path: Path) -> None:
    record = json.loads(RECORDS[name].read_text())
    module, folder = DATA[name]
    datalist = tmp_path / "datalist.json"
    importlib.import_module(f"data_prep.{module}").prepare(data_dir / folder, datalist)
    command = ["evaluate", "--bundle", REPOSITORY / "bundles" / name, "--dataset-dir", data_dir / folder]
    settings = ["num_workers=0", "cache_rate=0.0"]
    command += ["--datalist", datalist, "--output", tmp_path / "out", *(w for s in settings for w in ("--set", s))]
    assert main([*map(str, command)]) == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())["scores"]
    assert found.keys() == record["scores"].keys()
    for metric, score in record["scores"].items():
        assert found[metric]["mean"] == pytest.approx(score["mean"], abs=1e-3), metric
    stored = (REPOSITORY / "bundles" / name / "docs" / "scores.csv").open(newline="")
    assert [row["case"] for row in csv.DictReader(stored)] == [
        row["case"] for row in csv.DictReader((tmp_path / "out" / "scores.csv").open(newline=""))
    ]
