r"""Put the weights of a training that ``compare`` ran into its bundle, in half precision, with the record of it.

    python -m pu_unet_monai compare --bundle bundles/pu_unet_kvasir --dataset-dir Kvasir-SEG --datalist kvasir.json \
        --vary placement=low_resolution --seeds 42 --set image_size=128 --set max_epochs=100 \
        --output output/weights/kvasir
    python -m experiments.publish_weights --cell output/weights/kvasir/placement=low_resolution/seed_42

Written are ``models/model.pt`` and ``models/model.json`` of the bundle, ``docs/weights.json`` (data, split, settings,
epochs, hardware, scores with intervals, licence), ``docs/scores.csv`` (the score of every image) and, in the metadata,
the mean scores. The scores are those of the published weights, by ``evaluate``, not of the ones they were rounded from.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pu_unet_monai.__main__ import main as run_command
from pu_unet_monai.errors import UserError, print_error
from pu_unet_monai.evaluation.scores import read_rows, summarise
from pu_unet_monai.files import atomic_path, file_sha256, read_json, write_json
from pu_unet_monai.runtime.machine import machine
from pu_unet_monai.runtime.trained_with import read_facts, write_facts
from pu_unet_monai.runtime.weights import read_checkpoint

__all__ = ["main", "publish"]

_PLACES = ("bundle_root", "dataset_dir", "datalist_file", "output_dir", "ckpt_dir")
_LARGEST = 30_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Publish, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.publish_weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--cell", type=Path, required=True, help="folder of a finished training of compare")
    parser.add_argument(
        "--note", default="", help="a sentence for the metadata, such as what is smaller than the paper's"
    )
    args = parser.parse_args(argv)
    try:
        publish(args.cell, args.note)
    except UserError as error:
        print_error(error)
        return 2
    return 0


def publish(cell: Path, note: str) -> None:
    """Publish the weights of a finished training, see above.

    Raises:
        UserError: if the training is not finished, its weights are too large, or their evaluation fails.
    """
    if not (cell / "done.json").is_file():
        raise UserError(f"--cell {cell}: holds no finished training of compare (no done.json).")
    config = read_json(cell / "config.json")
    bundle = Path(config["bundle_root"])
    facts = read_facts(cell / "models" / "model.pt")
    weights = _write_half(cell / "models" / "model.pt", bundle / "models" / "model.pt", facts)
    evaluation = cell / "published"
    command = ["evaluate", "--bundle", str(bundle), "--dataset-dir", config["dataset_dir"]]
    command += ["--datalist", config["datalist_file"], "--output", str(evaluation)]
    if run_command(command):
        raise UserError(f"{evaluation}: the evaluation of the published weights failed.")
    with atomic_path(bundle / "docs" / "scores.csv") as path:
        shutil.copyfile(evaluation / "scores.csv", path)
    scores = summarise(read_rows(evaluation / "scores.csv"))
    record = _record(cell, config, facts, weights, scores, note)
    write_json(bundle / "docs" / "weights.json", record)
    _tell_metadata(bundle / "configs" / "metadata.json", record)


def _write_half(source: Path, target: Path, facts: Mapping[str, Any]) -> Path:
    content = {key: v.half() if v.is_floating_point() else v for key, v in read_checkpoint(source).items()}
    with atomic_path(target) as path:
        torch.save(content, path)
        if path.stat().st_size > _LARGEST:
            raise UserError(
                f"{source}: {path.stat().st_size / 1e6:.1f} MB in half precision, at most 30 MB are published."
            )
    write_facts(target, facts)
    return target


def _record(
    cell: Path,
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    weights: Path,
    scores: Mapping[str, Any],
    note: str,
) -> dict[str, Any]:
    datalist = read_json(Path(config["datalist_file"]))
    with (cell / "epochs.csv").open(newline="", encoding="utf-8") as file:
        epochs = list(csv.DictReader(file))
    best = max((row for row in epochs if row.get("dice")), key=lambda row: float(row["dice"]))
    hours = sum(float(row["seconds"]) for row in epochs) / 3600
    where = machine()
    size = facts.get("image_size") or facts.get("roi_size")
    what = (
        f"input {size}, widths {facts['channels'][0]} to {facts['channels'][-1]}, {len(epochs)} epochs, {hours:.1f} h"
    )
    return {
        "weights_sha256": file_sha256(weights),
        "note": note,
        "data": datalist["name"],
        "licence": datalist["licence"],
        "datalist": {
            "sha256": file_sha256(Path(config["datalist_file"])),
            "provenance": datalist["provenance"],
            "images": {name: len(datalist[name]) for name in ("training", "validation", "test")},
        },
        "trained_with": dict(facts),
        "training": {
            "what": what,
            "settings": {key: value for key, value in config.items() if key not in _PLACES},
            "epochs": len(epochs),
            "best_epoch": int(best["epoch"]),
            "best_validation_dice": round(float(best["dice"]), 4),
            "hours": round(hours, 2),
            "machine": where,
        },
        "split": "test",
        "scores": scores,
        "command": f"python -m pu_unet_monai evaluate --bundle bundles/{weights.parents[1].name} --dataset-dir DIR "
        "--datalist FILE --output output/evaluation",
    }


def _tell_metadata(path: Path, record: Mapping[str, Any]) -> None:
    """Write the mean scores, and what these weights are, into the metadata."""
    metadata = json.loads(path.read_text(encoding="utf-8"))
    means = {f"test_{name}": round(score["mean"], 4) for name, score in record["scores"].items()}
    metadata["eval_metrics"] = {"test_cases": record["datalist"]["images"]["test"], **means}
    told = f"{record['data']}; {record['training']['what']}"
    metadata["weights_notes"] = {record["weights_sha256"]: f"{told}; {record['note']}" if record["note"] else told}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(metadata, indent=4) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
