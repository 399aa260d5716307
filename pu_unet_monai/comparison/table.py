"""What a comparison found: the scores of all cases, and a table with intervals."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pu_unet_monai.comparison.cell import Cell
from pu_unet_monai.comparison.protocol import Protocol
from pu_unet_monai.evaluation.pictures import NOTICE
from pu_unet_monai.evaluation.statistics import bootstrap_interval
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.files import atomic_path
from pu_unet_monai.runtime.machine import machine

__all__ = ["write_tables"]

_ABOUT_CASES = ("variant", "case", "split", "seed")
_SHOWN = ("dice", "iou", "jaccard")
"""Scores of the table; all of them are in the files."""


def write_tables(
    cells: Sequence[Cell], costs: Mapping[str, Mapping[str, Any]], failures: Mapping[str, str], protocol: Protocol
) -> None:
    """Write ``scores.csv`` (a row a case and training), ``compare.json`` and ``compare.md``.

    A score of a case is its mean over the seeds; means and 95 % bootstrap intervals are over cases, and so are those of
    the differences from the first variant, case by case. Cases without a score count nowhere.

    Args:
        cells: the trainings that are done.
        costs: what each variant costs, in the order of the table.
        failures: why other trainings failed, by title.
        protocol: what all share.
    """
    rows = [row for cell in cells for row in _read(cell.folder / "scores.csv", cell.variant.name)]
    _write_scores(rows, protocol.output / "scores.csv")
    by_variant = {name: _scores_of_cases(rows, name) for name in costs}
    first = next(iter(by_variant.values()))
    seeds = sorted({cell.seed for cell in cells})
    results = {
        "notice": NOTICE,
        "machine": machine(),
        **protocol.identity(),
        "seeds": seeds,
        "example_cases": protocol.example_cases,
        "variants": {
            name: {
                **costs[name],
                "training_seconds": {cell.seed: _seconds(cell) for cell in cells if cell.variant.name == name},
                "scores": {metric: _summary(scores, first.get(metric, {})) for metric, scores in found.items()},
            }
            for name, found in by_variant.items()
        },
        "failed": dict(failures),
    }
    write_results(results, _markdown(results), protocol.output / "compare")


def _read(path: Path, variant: str) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [{"variant": variant, **row} for row in csv.DictReader(file)]


def _write_scores(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    columns = list(dict.fromkeys([*_ABOUT_CASES, *(column for row in rows for column in row)]))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _scores_of_cases(rows: Sequence[Mapping[str, str]], variant: str) -> dict[str, dict[str, float]]:
    """Return the scores of a variant by metric and case, means over the seeds."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["variant"] == variant:
            for metric, score in row.items():
                if metric not in _ABOUT_CASES and score != "":
                    found[metric][row["case"]].append(float(score))
    return {
        metric: {case: sum(scores) / len(scores) for case, scores in cases.items()} for metric, cases in found.items()
    }


def _summary(scores: Mapping[str, float], first: Mapping[str, float]) -> dict[str, Any]:
    values = list(scores.values())
    differences = [score - first[case] for case, score in scores.items() if case in first]
    return {
        "cases": len(values),
        "mean": sum(values) / len(values),
        "interval": bootstrap_interval(values),
        "difference_from_first": sum(differences) / len(differences) if differences else None,
        "interval_of_difference": bootstrap_interval(differences),
    }


def _seconds(cell: Cell) -> float:
    with (cell.folder / "epochs.csv").open(newline="", encoding="utf-8") as file:
        return round(sum(float(row["seconds"]) for row in csv.DictReader(file)), 1)


def _markdown(results: Mapping[str, Any]) -> str:
    found, where = results["variants"], results["machine"]
    names = dict.fromkeys(metric for row in found.values() for metric in row["scores"])
    metrics = [metric for metric in names if metric.startswith(_SHOWN)]
    headline = metrics[: max(sum(metric.startswith("dice") and "grid" not in metric for metric in metrics), 1)]
    columns = ["", "parameters", "GMACs", "step, ms", "step, MB", "training, min", *metrics]
    columns += [f"{metric} - first" for metric in headline]
    rows = [
        [
            name,
            f"{row['parameters']:,}",
            _figure(row["macs"] / 1e9),
            _figure(1e3 * row["step_seconds"]),
            "-" if row["step_bytes"] is None else _figure(row["step_bytes"] / 1e6),
            _minutes(row["training_seconds"]),
            *(_score(row["scores"].get(metric)) for metric in metrics),
            *("" if number == 0 else _difference(row["scores"].get(metric)) for metric in headline),
        ]
        for number, (name, row) in enumerate(found.items())
    ]
    cases = max((score["cases"] for row in found.values() for score in row["scores"].values()), default=0)
    size = next(iter(found.values()))["input_size"]
    lines = [
        markdown_table(columns, rows),
        "",
        f"{results['split']} split, {cases} cases, seeds {', '.join(map(str, results['seeds']))}; means over cases "
        "with 95 % bootstrap intervals, which leave out how results vary with the seed. Scores with `_grid` are on the "
        "network's grid, others at native size.",
        "GMACs: 10^9 multiply-adds of convolutions (transposed ones too) and matrix products, one item of "
        f"{'x'.join(map(str, size[1:]))}. Step: one training step of batch {size[0]}; its time is the median of steps "
        "taken in turn, its memory that of its tensors with Adam's state, counted.",
        f"{where['gpu'] or where['processor']}, {where['threads']} thread(s), AMX {where['amx']}, "
        f"torch {where['torch']}, MONAI {where['monai']}.",
        *(f"failed: {title}: {reason}" for title, reason in results["failed"].items()),
        "",
        results["notice"],
    ]
    return "\n".join(lines)


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _minutes(seconds: Mapping[Any, float]) -> str:
    return f"{sum(seconds.values()) / len(seconds) / 60:.1f}" if seconds else "-"


def _score(score: Mapping[str, Any] | None) -> str:
    return "-" if score is None else f"{score['mean']:.3f}{_interval(score['interval'])}"


def _difference(score: Mapping[str, Any] | None) -> str:
    if score is None or score["difference_from_first"] is None:
        return "-"
    bounds = score["interval_of_difference"]
    return f"{score['difference_from_first']:+.3f}" + (f" ({bounds[0]:+.3f} to {bounds[1]:+.3f})" if bounds else "")


def _interval(bounds: Sequence[float] | None) -> str:
    return f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else ""
