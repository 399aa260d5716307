"""MONAI's own ``--tracking mlflow``: a run with parameters and metrics in a local store, without a network."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.bundles.conftest import SMALL, run_bundle

mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")


def test_training_is_tracked(datasets, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    output = tmp_path / "out"
    overrides = SMALL | datasets("pu_unet_kvasir").overrides()
    overrides |= {"output_dir": str(output), "ckpt_dir": str(tmp_path / "models")}
    tracking = {"tracking": "mlflow", "experiment_name": "polyps", "run_name": "first"}
    finished = run_bundle("pu_unet_kvasir", "training", ["train.json"], overrides | tracking, tmp_path)
    assert finished.returncode == 0, finished.stderr

    client = mlflow.MlflowClient(f"sqlite:///{output / 'mlruns.db'}")
    (run,) = client.search_runs(client.get_experiment_by_name("polyps").experiment_id)
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.params == {"max_epochs": str(SMALL["max_epochs"]), "epoch_length": "6"}
    rows = list(csv.DictReader((output / "epochs.csv").open(encoding="utf-8")))
    assert len(rows) == SMALL["max_epochs"]
    for name in ("dice", "iou", "false_positive_rate", "dice_grid", "iou_grid"):  # of the validation
        history = client.get_metric_history(run.info.run_id, name)
        assert [point.value for point in sorted(history, key=lambda point: point.step)] == [
            pytest.approx(float(row[name])) for row in rows
        ]
    assert len(client.get_metric_history(run.info.run_id, "train_loss")) == 6 * SMALL["max_epochs"]
    assert len(list(output.glob("config_*.json"))) == 1
