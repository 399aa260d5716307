"""The weights in the bundles: what they are, and that they give again what their record says."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from experiments.brain_report.prepare import prepare
from experiments.weights_record import markdown
from pu_unet_monai.__main__ import main
from pu_unet_monai.evaluation.scores import Row, read_rows, scores_of, summarise
from pu_unet_monai.files import file_sha256
from pu_unet_monai.runtime.bundle import TrainedBundle
from tests.conftest import FULL, REPOSITORY

RECORDS = {path.parents[1].name: path for path in sorted(REPOSITORY.glob("bundles/*/docs/weights.json"))}
DATA = {
    "pu_unet_kvasir": "kvasir",
    "pu_unet_busi": "busi",
    "pu_unet_isic2018": "isic2018",
    "r2_unet_isic2017": "isic2018",
    "pu_unet_brats": "heads",
}
IN_FULL_ALONE = {"r2_unet_isic2017", "pu_unet_brats"}
"""The images are those of pu_unet_isic2018, and take a minute; a head takes half of one."""
LARGEST = 30_000_000

pytestmark = pytest.mark.skipif(not RECORDS, reason="no bundle has weights with a record yet")


def test_all_weights_have_a_record() -> None:
    assert {path.parents[1].name for path in REPOSITORY.glob("bundles/*/models/model.pt")} == {*RECORDS}


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
    rows = read_rows(RECORDS[name].with_name("scores.csv"))
    assert {row["seed"] for row in rows} == {str(record["training"]["settings"]["seed"])}
    assert json.loads(json.dumps(summarise(rows))) == record["scores"]
    means = {f"test_{key}": round(score["mean"], 4) for key, score in record["scores"].items()}
    assert bundle.metadata["eval_metrics"].items() >= means.items()
    assert RECORDS[name].with_suffix(".md").read_text() == markdown(record) + "\n"


@pytest.mark.real_data
@pytest.mark.parametrize("name", [name for name in RECORDS if name in DATA and (FULL or name not in IN_FULL_ALONE)])
def test_evaluating_them_gives_the_recorded_scores(name: str, prepared, data_dir, full: bool, tmp_path: Path) -> None:
    """Of all cases, or of every third."""
    if DATA[name] == "heads":
        folder, datalist = data_dir / "Task01_BrainTumour", tmp_path / "heads.json"
        prepare(folder, datalist, "BraTS2021_01478", seed=42)
    else:
        folder, datalist = prepared(DATA[name])
    content = json.loads(datalist.read_text())
    recorded = read_rows(REPOSITORY / "bundles" / name / "docs" / "scores.csv")
    assert len(recorded) == len(content["test"])
    content["test"] = content["test"][:: 1 if full else 3]
    datalist = tmp_path / "datalist.json"
    datalist.write_text(json.dumps(content))
    command = ["evaluate", "--bundle", REPOSITORY / "bundles" / name, "--dataset-dir", folder, "--datalist", datalist]
    settings = ["num_workers=0", "cache_rate=0.0"]
    command += ["--output", tmp_path / "out", *(word for setting in settings for word in ("--set", setting))]
    assert main([*map(str, command)]) == 0
    found = read_rows(tmp_path / "out" / "scores.csv")
    cases = [row["case"] for row in found]
    assert len(cases) == len(content["test"])
    chosen = [row for row in recorded if row["case"] in cases]
    assert [row["case"] for row in chosen] == cases
    record = json.loads(RECORDS[name].read_text())
    assert summarise(found).keys() == record["scores"].keys()
    for metric, score in record["scores"].items():
        assert mean(recorded, metric) == pytest.approx(score["mean"], abs=1e-6), metric
        assert mean(found, metric) == pytest.approx(mean(chosen, metric), abs=1e-3), metric


def mean(rows: Sequence[Row], metric: str) -> float:
    return statistics.fmean(scores_of(rows, metric).values())
