"""What a comparison found: the scores of all cases, and a table with intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from pu_unet_monai.comparison.cell import Cell
from pu_unet_monai.comparison.protocol import Protocol
from pu_unet_monai.evaluation.pictures import NOTICE
from pu_unet_monai.evaluation.scores import (
    ABOUT_CASES,
    FALSE_ALARM,
    groups_of,
    mean_interval,
    read_rows,
    with_groups,
    write_rows,
)
from pu_unet_monai.evaluation.statistics import bootstrap_interval, p_value_text, permutation_p_value
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.files import read_csv
from pu_unet_monai.runtime.machine import machine

__all__ = ["write_tables"]

Scores = dict[tuple[str, str], float]
"""Scores of a metric by case and seed."""
_SHOWN = ("dice", "iou", "thresholded_jaccard", FALSE_ALARM)
"""Scores of the table; all of them are in the files."""


def write_tables(
    cells: Sequence[Cell], costs: Mapping[str, Mapping[str, Any]], failures: Mapping[str, str], protocol: Protocol
) -> None:
    """Write ``scores.csv`` (a row a case and training), ``compare.json`` and ``compare.md``.

    A score of a case is its mean over the seeds; means and 95 % intervals are over cases, and so are those of the
    differences from the first variant, case by case and seed by seed, and the p-values of paired permutation tests of
    them. Cases of one group are resampled, and change sign, together. Cases without a score count nowhere.

    Args:
        cells: the trainings that are done.
        costs: what each variant costs, in the order of the table.
        failures: why other trainings failed, by title.
        protocol: what all share.
    """
    own = [{"variant": cell.variant.name, **row} for cell in cells for row in read_rows(cell.folder / "scores.csv")]
    rows = with_groups(own, protocol.groups) if protocol.groups else own
    if rows:
        write_rows(protocol.output / "scores.csv", rows)
    found = {name: _scores(rows, name) for name in costs}
    first, groups = next(iter(found.values())), groups_of(rows)
    results = {
        "notice": NOTICE,
        "machine": machine(),
        **protocol.identity(),
        "example_cases": protocol.example_cases,
        "variants": {
            name: {
                **costs[name],
                "training_seconds": {cell.seed: _seconds(cell) for cell in cells if cell.variant.name == name},
                "scores": {
                    metric: _summary(metric, values, first.get(metric, {}), groups) for metric, values in scores.items()
                },
            }
            for name, scores in found.items()
        },
        "failed": dict(failures),
    }
    write_results(results, _markdown(results), protocol.output / "compare")


def _scores(rows: Sequence[Mapping[str, str]], variant: str) -> dict[str, Scores]:
    """Return the scores of a variant by metric, and then by case and seed."""
    found: dict[str, Scores] = defaultdict(dict)
    for row in rows:
        if row["variant"] == variant:
            for metric, score in row.items():
                if metric not in ABOUT_CASES and score != "" and math.isfinite(float(score)):
                    found[metric][row["case"], row["seed"]] = float(score)
    return found


def _summary(metric: str, scores: Scores, first: Scores, groups: Mapping[str, str]) -> dict[str, Any]:
    cases = _means_of_cases(scores)
    gains = _means_of_cases({key: scores[key] - first[key] for key in scores if key in first})
    differences, their_groups = [*gains.values()], [groups[case] for case in gains]
    return {
        "cases": len(cases),
        "groups": len({groups[case] for case in cases}),
        "mean": fmean(cases.values()),
        "interval": mean_interval(metric, cases, groups),
        "difference_from_first": fmean(differences) if differences else None,
        "interval_of_difference": bootstrap_interval(differences, their_groups),
        "p_value": permutation_p_value(differences, their_groups),
        "by_seed": {seed: fmean(of_seed) for seed, of_seed in _by_seed(scores).items()},
    }


def _by_seed(scores: Scores) -> dict[str, list[float]]:
    by_seed: dict[str, list[float]] = defaultdict(list)
    for (_, seed), score in scores.items():
        by_seed[seed].append(score)
    return by_seed


def _means_of_cases(scores: Scores) -> dict[str, float]:
    """Return by case the mean of its scores over seeds."""
    by_case: dict[str, list[float]] = defaultdict(list)
    for (case, _), score in scores.items():
        by_case[case].append(score)
    return {case: fmean(values) for case, values in by_case.items()}


def _seconds(cell: Cell) -> float:
    return round(sum(float(row["seconds"]) for row in read_csv(cell.folder / "epochs.csv")), 1)


def _markdown(results: Mapping[str, Any]) -> str:
    found, where = results["variants"], results["machine"]
    names = dict.fromkeys(metric for row in found.values() for metric in row["scores"])
    metrics = [metric for metric in names if metric.startswith(_SHOWN)]
    headline = metrics[: max(sum(metric.startswith("dice") and "grid" not in metric for metric in metrics), 1)]
    columns = ["", "cases x seeds", "parameters", "GMACs", "step, ms", "step, MB", "training, min", *metrics]
    columns += [f"{metric}, less that of {next(iter(found))}" for metric in headline]
    rows = [
        [
            name,
            f"{_cases(row)} x {len(row['training_seconds'])}",
            f"{row['parameters']:,}",
            _figure(row["macs"] / 1e9),
            _figure(1e3 * row["step_seconds"]),
            "-" if row["step_bytes"] is None else _figure(row["step_bytes"] / 1e6),
            _minutes(row["training_seconds"]),
            *(_score(row["scores"].get(metric), _cases(row)) for metric in metrics),
            *("" if number == 0 else _difference(row["scores"].get(metric)) for metric in headline),
        ]
        for number, (name, row) in enumerate(found.items())
    ]
    sizes = {tuple(row["input_size"]): name for name, row in found.items()}
    shown = ", ".join(
        f"{'x'.join(map(str, size))}{f' ({name})' if len(sizes) > 1 else ''}" for size, name in sizes.items()
    )
    lines = [
        markdown_table(columns, rows),
        "",
        f"{results['split']} split; means over cases with 95 % intervals (bootstrap; of a false positive rate exact), "
        "which leave out how results vary with the seed; p-values of two-sided paired permutation tests over cases "
        "(20,000 permutations), each of one comparison, not corrected for their number. Cases of one group of the "
        "datalist are resampled, and change sign, together. Scores with `_grid` are on the network's grid, others at "
        "native size.",
        "GMACs: 10^9 multiply-adds of convolutions (transposed ones too) and matrix products, for one item. Step: one "
        f"training step of {shown}; its time is the median of steps taken in turn, single ones of which took "
        f"{_spread(found.values())} of that, as other programs let them; its memory that of its tensors with Adam's "
        "state, counted.",
        f"{where['gpu'] or where['processor']}, {where['threads']} thread(s), AMX {where['amx']}, "
        f"torch {where['torch']}, MONAI {where['monai']}.",
        *(f"failed: {title}: {reason}" for title, reason in results["failed"].items()),
        "",
        results["notice"],
    ]
    return "\n".join(lines)


def _spread(rows: Iterable[Mapping[str, Any]]) -> str:
    """Say how far single steps were from the median, over all variants."""
    ratios = [seconds / row["step_seconds"] for row in rows for seconds in row["step_seconds_range"]]
    return f"{min(ratios):.0%} to {max(ratios):.0%}"


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _minutes(seconds: Mapping[Any, float]) -> str:
    return f"{sum(seconds.values()) / len(seconds) / 60:.1f}" if seconds else "-"


def _cases(row: Mapping[str, Any]) -> int:
    """Return how many cases have the score that most have."""
    return max((score["cases"] for score in row["scores"].values()), default=0)


def _score(score: Mapping[str, Any] | None, cases: int) -> str:
    if score is None:
        return "-"
    fewer = "" if score["cases"] == cases else f", {score['cases']} cases"
    return _with_interval(score["mean"], score["interval"], ".3f") + fewer


def _difference(score: Mapping[str, Any] | None) -> str:
    if score is None or score["difference_from_first"] is None:
        return "-"
    shown = _with_interval(score["difference_from_first"], score["interval_of_difference"], "+.3f")
    return shown if score["p_value"] is None else f"{shown}, {p_value_text(score['p_value'])}"


def _with_interval(mean: float, bounds: Sequence[float] | None, form: str) -> str:
    return f"{mean:{form}}" + (f" ({bounds[0]:{form}} to {bounds[1]:{form}})" if bounds else "")
