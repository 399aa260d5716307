"""The record of a bundle's weights: what they were trained on, how, where, and what they score."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pu_unet_monai.evaluation.pictures import NOTICE
from pu_unet_monai.evaluation.scores import cases_text, read_rows, summarise
from pu_unet_monai.evaluation.tables import markdown_table
from pu_unet_monai.files import file_sha256, read_csv, read_json

__all__ = ["markdown", "metadata_with", "weights_record"]

_PLACES = ("bundle_root", "dataset_dir", "datalist_file", "output_dir", "ckpt_dir")


def weights_record(
    bundle: str, cell: Path, weights: Path, facts: Mapping[str, Any], datalist: Mapping[str, Any], note: str
) -> dict[str, Any]:
    """Return the record of weights.

    Args:
        bundle: name of the bundle.
        cell: folder of the training, as ``compare`` leaves it.
        weights: the weights that are published, two folders below the ``scores.csv`` of their evaluation.
        facts: what the weights say of themselves.
        datalist: content of the datalist.
        note: a sentence about them.
    """
    config = read_json(cell / "config.json", "train again")
    epochs = read_csv(cell / "epochs.csv")
    best = max((row for row in epochs if row.get("dice")), key=lambda row: float(row["dice"]))
    # other programs made single epochs longer
    hours = statistics.median(float(row["seconds"]) for row in epochs) * len(epochs) / 3600
    size = facts.get("image_size") or facts.get("roi_size")
    widths = f"{facts['channels'][0]} to {facts['channels'][-1]}"
    return {
        "bundle": bundle,
        "weights_sha256": file_sha256(weights),
        "note": note,
        "data": datalist["name"],
        "licence": datalist["licence"],
        "datalist": {
            "provenance": datalist["provenance"],
            "images": {name: len(datalist[name]) for name in ("training", "validation", "test")},
        },
        "trained_with": dict(facts),
        "training": {
            "what": f"input {size}, widths {widths}, {len(epochs)} epochs, {hours:.1f} h",
            "settings": {key: value for key, value in config.items() if key not in _PLACES},
            "epochs": len(epochs),
            "log": "epochs.csv",
            "best_epoch": int(best["epoch"]),
            "best_validation_dice": round(float(best["dice"]), 4),
            "hours": round(hours, 2),
            "machine": _machine(cell),
        },
        "split": "test",
        "scores": summarise(read_rows(weights.parents[1] / "scores.csv")),
        "command": f"python -m pu_unet_monai evaluate --bundle bundles/{bundle} --dataset-dir DIR --datalist FILE "
        "--output output/evaluation",
    }


def _machine(cell: Path) -> dict[str, Any]:
    """Return the machine that trained: of pieces that were joined, or of the comparison."""
    own, comparison = cell / "machine.json", cell.parents[1] / "compare.json"
    return dict(read_json(own) if own.is_file() else read_json(comparison)["machine"])


def metadata_with(record: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bundle's metadata with the mean scores, and what these weights are."""
    means = {f"test_{name}": round(score["mean"], 4) for name, score in record["scores"].items()}
    told = "; ".join(filter(None, (record["data"], record["training"]["what"], record["note"])))
    return {
        **metadata,
        "eval_metrics": {"test_cases": record["datalist"]["images"]["test"], **means},
        "weights_notes": {record["weights_sha256"]: told},
    }


def markdown(record: Mapping[str, Any]) -> str:
    """Return the record as a page to read."""
    images, training = record["datalist"]["images"], record["training"]
    machine = training["machine"]
    log = f", every epoch in [{training['log']}]({training['log']})" if training["log"] else ""
    scores = [
        [metric, cases_text(score), f"{score['mean']:.3f}", _interval(score["interval"])]
        for metric, score in record["scores"].items()
    ]
    return "\n\n".join(
        [
            f"# The weights in {record['bundle']}",
            "Written by `python -m experiments.publish_weights`. The whole record is in [weights.json](weights.json), "
            f"the score of every image in [scores.csv](scores.csv){log}.",
            f"**{NOTICE}**",
            f"- data: {record['data']}: {images['training']} to train, {images['validation']} to choose the epoch, "
            f"{images['test']} for test\n"
            f"- training: {training['what']}; validation Dice {training['best_validation_dice']:.3f} after epoch "
            f"{training['best_epoch']}\n"
            f"- hardware: {machine['gpu'] or machine['processor']}, {machine['threads']} thread(s)\n"
            f"- licence of the data: {record['licence']}" + (f"\n- {record['note']}" if record["note"] else ""),
            markdown_table(["test split", "cases", "mean", "95 % interval"], scores),
            f"The same again: `{record['command']}`",
        ]
    )


def _interval(bounds: tuple[float, float] | None) -> str:
    return f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else ""
