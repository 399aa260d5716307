"""Scores of every case of an evaluation, as CSV, and their means, as JSON."""

from __future__ import annotations

import csv
import json
import logging
import math
import os
from pathlib import Path

from ignite.engine import Events
from monai.engines import Evaluator
from monai.utils import CommonKeys, string_list_all_gather

from pu_unet_monai.data.case_name import case_name
from pu_unet_monai.files import atomic_path

__all__ = ["ScoresWriter"]

_log = logging.getLogger(__name__)


class ScoresWriter:
    """Ignite handler that writes ``scores.csv`` (one row a case) and ``scores.json`` (means) after an evaluation.

    The columns are ``case,split,seed`` and the engine's metrics by name; a score that does not exist for a case
    (Dice where the truth is empty) is left blank and does not count in the mean. The mean of a metric without any
    score is null.

    Args:
        output_dir: folder of the two files.
        split: what was evaluated, for the column ``split``.
        seed: seed of the training, for the column ``seed``.
    """

    def __init__(self, output_dir: str | os.PathLike[str], split: str, seed: int) -> None:
        self.output_dir = Path(output_dir)
        self.split = split
        self.seed = seed
        self._cases: list[str] = []

    def attach(self, engine: Evaluator) -> None:
        """Register on an evaluator whose metrics keep their details."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def start(self, engine: Evaluator) -> None:
        """Begin an evaluation."""
        self._cases = []

    def add(self, engine: Evaluator) -> None:
        """Note the names of the cases of a batch."""
        for item in engine.state.batch:
            self._cases.append(case_name(item[CommonKeys.IMAGE]))

    def write(self, engine: Evaluator) -> None:
        """Write both files."""
        cases = string_list_all_gather(self._cases)
        if engine.state.rank != 0:
            return
        columns = _columns(engine)
        rows = [
            {"case": case, "split": self.split, "seed": self.seed}
            | {name: "" if math.isnan(scores[i]) else f"{scores[i]:.6f}" for name, scores in columns.items()}
            for i, case in enumerate(cases)
        ]
        with atomic_path(self.output_dir / "scores.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["case", "split", "seed", *columns])
            writer.writeheader()
            writer.writerows(sorted(rows, key=lambda row: row["case"]))
        summary = {name: _mean(scores) for name, scores in columns.items()}
        with atomic_path(self.output_dir / "scores.json") as path:
            path.write_text(json.dumps({"split": self.split, "seed": self.seed, "means": summary}, indent=2) + "\n")
        for name, mean in summary.items():
            _log.info("%-24s %s", name, f"{mean['mean']:.4f}  ({mean['cases']} images)" if mean["cases"] else "-")
        _log.info("scores of %d cases of the %s split: %s", len(rows), self.split, self.output_dir / "scores.csv")


def _columns(engine: Evaluator) -> dict[str, list[float]]:
    """Per-case scores by column; a metric of several channels gives a column a channel."""
    columns: dict[str, list[float]] = {}
    for name, details in engine.state.metric_details.items():
        scores = details.flatten(1).T.tolist()
        names = [name] if len(scores) == 1 else [f"{name}_{channel}" for channel in range(len(scores))]
        columns |= dict(zip(names, scores, strict=True))
    return columns


def _mean(scores: list[float]) -> dict[str, float | int | None]:
    scored = [score for score in scores if not math.isnan(score)]
    return {"mean": sum(scored) / len(scored) if scored else None, "cases": len(scored)}
