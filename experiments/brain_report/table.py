"""What the set-ups reached, as a table and in numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser

from experiments.brain_report.experiment import PARTS
from experiments.brain_report.set_ups import SET_UPS, config_files
from pu_unet_monai.data.label_numbering import CLASS_NAMES
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.files import read_csv
from pu_unet_monai.runtime.machine import machine

__all__ = ["write_table"]

_REGIONS = ("WT", "TC", "ET")
_PART_NAMES = {"training": "the training cases", "test": "the test case"}


def write_table(output: Path, names: Sequence[str], settings: Mapping[str, Any], threads: int) -> None:
    """Write ``table.json`` and ``table.md``.

    Args:
        output: folder with a folder for each set-up, trained and evaluated.
        names: the set-ups, in the order of the rows.
        settings: keys that were set in the configuration of all set-ups.
        threads: processor cores that were used.
    """
    results = {
        "machine": machine() | {"threads": threads},
        "settings": settings,
        "set_ups": {name: _result(output / name, name, settings) for name in names},
    }
    write_results(results, _markdown(results), output / "table")


def _result(folder: Path, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    epochs = read_csv(folder / "epochs.csv")
    return {
        "title": SET_UPS[name].title,
        "parameters": _parameters(name, settings),
        "epochs": len(epochs),
        "seconds": round(sum(float(epoch["seconds"]) for epoch in epochs)),
        **{part: _scores(folder / part) for part in PARTS},
    }


def _parameters(name: str, settings: Mapping[str, Any]) -> int:
    parser = ConfigParser()
    parser.read_config(config_files(name))
    parser.update(dict(settings))
    return sum(parameter.numel() for parameter in parser.get_parsed_content("network_def").parameters())


def _scores(folder: Path) -> dict[str, Any]:
    means = json.loads((folder / "scores.json").read_text(encoding="utf-8"))["means"]
    confusion = json.loads((folder / "confusion_matrix.json").read_text(encoding="utf-8"))
    voxels = np.array(confusion["voxels"])
    return {
        "dice": {region: means[f"dice_{region}"]["mean"] for region in _REGIONS},
        "background": {
            "truth": voxels[0].sum() / voxels.sum(),
            "prediction": voxels[:, 0].sum() / voxels.sum(),
        },
        "classes": confusion["scores"],
    }


def _markdown(results: Mapping[str, Any]) -> str:
    machine, rows = results["machine"], results["set_ups"].values()
    columns = ["set-up", "parameters", "epochs", "minutes"]
    columns += [f"Dice {region}, {part}" for part in PARTS for region in _REGIONS]
    columns += ["voxels predicted background, test"]
    summary = [
        [
            row["title"],
            f"{row['parameters']:,}",
            str(row["epochs"]),
            f"{row['seconds'] / 60:.1f}",
            *(_text(row[part]["dice"][region]) for part in PARTS for region in _REGIONS),
            f"{row['test']['background']['prediction']:.2%} (truth {row['test']['background']['truth']:.2%})",
        ]
        for row in rows
    ]
    lines = [
        f"{machine['processor']}, {machine['threads']} thread(s), AMX {machine['amx']}, "
        f"torch {machine['torch']}, MONAI {machine['monai']}; Dice is the mean over cases, at native geometry.",
        "",
        markdown_table(columns, summary),
    ]
    for part in PARTS:
        lines += ["", f"Over all voxels of {_PART_NAMES[part]}:", "", _class_table(rows, part)]
    return "\n".join(lines)


def _class_table(rows: Any, part: str) -> str:
    cells = [
        [row["title"], name, *(_text(row[part]["classes"][name][score]) for score in ("precision", "recall", "f1"))]
        for row in rows
        for name in CLASS_NAMES
    ]
    return markdown_table(["set-up", "class", "precision", "recall", "F1"], cells)


def _text(score: float | None) -> str:
    return "-" if score is None else f"{score:.3f}"
