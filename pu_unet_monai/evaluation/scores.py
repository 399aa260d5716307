"""The scores of an evaluation, case by case, and what they come to."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pu_unet_monai.errors import UserError
from pu_unet_monai.evaluation.statistics import bootstrap_interval
from pu_unet_monai.files import read_csv

__all__ = ["ABOUT_CASES", "Row", "dice_columns", "key_scores", "metrics_of", "read_rows", "scores_of", "summarise"]

ABOUT_CASES = ("variant", "case", "split", "seed")
"""Columns of ``scores.csv`` that are no metrics."""

Row = Mapping[str, str]
"""A row of ``scores.csv``; the score of a metric that does not exist for the case is empty."""


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read ``scores.csv``.

    Raises:
        UserError: if there is none, or it has no scores.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run evaluate, or the bundle's evaluating, first.")
    rows = read_csv(path)
    if not rows or "case" not in rows[0]:
        raise UserError(f"{path}: holds no scores of cases; evaluate again.")
    return rows


def metrics_of(rows: Sequence[Row]) -> list[str]:
    """Return the names of the metrics, in the order of their columns."""
    return list(dict.fromkeys(column for row in rows for column in row if column not in ABOUT_CASES))


def scores_of(rows: Sequence[Row], metric: str) -> dict[str, float]:
    """Return the scores of a metric by case, without cases that have none."""
    found = {row["case"]: row.get(metric) or "nan" for row in rows}
    return {case: float(score) for case, score in found.items() if math.isfinite(float(score))}


def dice_columns(rows: Sequence[Row]) -> list[str]:
    """Return the names of the Dice at native size, one for each region."""
    return [metric for metric in metrics_of(rows) if metric.split("_")[0] == "dice" and "grid" not in metric]


def key_scores(rows: Sequence[Row]) -> dict[str, float]:
    """Return the Dice of every case at native size, of several regions their mean; without cases that have none."""
    by_case: dict[str, list[float]] = {}
    for column in dice_columns(rows):
        for case, score in scores_of(rows, column).items():
            by_case.setdefault(case, []).append(score)
    return {case: statistics.fmean(scores) for case, scores in by_case.items()}


def summarise(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return by metric: ``cases`` (how many have a score), ``mean``, ``interval`` (95 %), ``median``, and the extremes.

    ``lowest`` and ``highest`` are pairs of a case and its score. Metrics without any score are left out.
    """
    summary = {}
    for metric in metrics_of(rows):
        scores = scores_of(rows, metric)
        if scores:
            summary[metric] = {
                "cases": len(scores),
                "mean": statistics.fmean(scores.values()),
                "interval": bootstrap_interval([*scores.values()]),
                "median": statistics.median(scores.values()),
                "lowest": min(scores.items(), key=lambda item: item[1]),
                "highest": max(scores.items(), key=lambda item: item[1]),
            }
    return summary
