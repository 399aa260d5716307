"""The scores of an evaluation, case by case, and what they come to."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pu_unet_monai.errors import UserError
from pu_unet_monai.evaluation.statistics import bootstrap_interval, proportion_interval
from pu_unet_monai.files import read_csv, write_csv

__all__ = [
    "ABOUT_CASES",
    "FALSE_ALARM",
    "Row",
    "add_groups",
    "cases_text",
    "dice_columns",
    "groups_of",
    "key_scores",
    "mean_interval",
    "metrics_of",
    "read_rows",
    "scores_of",
    "summarise",
    "with_groups",
    "write_rows",
]

ABOUT_CASES = ("variant", "case", "split", "seed", "group")
"""Columns of ``scores.csv`` that are no metrics."""
FALSE_ALARM = "false_positive_rate"
"""How the columns of a metric begin that is 1 where a lesion is seen where none is, else 0."""

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


def add_groups(path: Path, groups: Mapping[str, str]) -> None:
    """Add to ``scores.csv`` which group each case is of, if any group is known.

    Args:
        path: of ``scores.csv``.
        groups: by case.

    Raises:
        UserError: if there is no such file, or it has no scores.
    """
    if groups:
        write_rows(path, with_groups(read_rows(path), groups))


def with_groups(rows: Iterable[Row], groups: Mapping[str, str]) -> list[Row]:
    """Return the rows with the group of each case, which is empty where none is known."""
    return [{**row, "group": groups.get(row["case"], "")} for row in rows]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write ``scores.csv``, first what it says of the cases, then their scores."""
    write_csv(path, rows, [column for column in ABOUT_CASES if any(column in row for row in rows)])


def groups_of(rows: Iterable[Row]) -> dict[str, str]:
    """Return the group of every case; a case without one is its own."""
    return {row["case"]: row.get("group") or f"case {row['case']}" for row in rows}


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


def mean_interval(metric: str, scores: Mapping[str, float], groups: Mapping[str, str]) -> tuple[float, float] | None:
    """Return the 95 % interval of a metric's mean: exact of a share of cases, by bootstrap of all others.

    Args:
        metric: its name.
        scores: by case.
        groups: by case, see :func:`groups_of`.

    Returns:
        The lower and the upper bound, or None for fewer than two groups.
    """
    interval = proportion_interval if metric.startswith(FALSE_ALARM) else bootstrap_interval
    return interval([*scores.values()], [groups[case] for case in scores])


def summarise(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return by metric: ``cases`` (how many have a score), ``mean``, ``interval`` (95 %), ``median``, and the extremes.

    ``groups`` is of how many groups these cases are, each of them independent of the others.

    ``lowest`` and ``highest`` are pairs of a case and its score. Metrics without any score are left out.
    """
    summary = {}
    groups = groups_of(rows)
    for metric in metrics_of(rows):
        scores = scores_of(rows, metric)
        if scores:
            summary[metric] = {
                "cases": len(scores),
                "groups": len({groups[case] for case in scores}),
                "mean": statistics.fmean(scores.values()),
                "interval": mean_interval(metric, scores, groups),
                "median": statistics.median(scores.values()),
                "lowest": min(scores.items(), key=lambda item: item[1]),
                "highest": max(scores.items(), key=lambda item: item[1]),
            }
    return summary


def cases_text(score: Mapping[str, Any]) -> str:
    """Write how many cases a score of :func:`summarise` is of, and of how many groups if these are fewer."""
    fewer = score["groups"] < score["cases"]
    return f"{score['cases']}" + (f" (of {score['groups']} groups)" if fewer else "")
