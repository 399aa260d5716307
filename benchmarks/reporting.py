"""What the reports of several benchmarks share: raw times, ratios, the machine in words, and goals."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from benchmarks.measure import ratio
from pu_unet_monai.evaluation.tables import markdown_table

__all__ = ["Goal", "goals_text", "median_ms", "ratio_of_cpu", "ratio_text", "raw_times", "setting_text"]


class Goal(TypedDict):
    """What was aimed at, and what was found."""

    what: str
    goal: str
    measured: str
    met: bool | None
    note: str


def raw_times(times: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Lay out the times of one side, as :mod:`benchmarks.measure` returns them, for JSON: in seconds."""
    return {f"{clock}_seconds": [round(seconds, 6) for seconds in times[clock]] for clock in ("wall", "cpu")}


def ratio_of_cpu(first: Mapping[str, Sequence[float]], second: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Compare the CPU times of two sides, first / second, with the 95 % interval, for JSON."""
    return {key: round(value, 4) for key, value in ratio(first["cpu"], second["cpu"])._asdict().items()}


def ratio_text(ratio: Mapping[str, float]) -> str:
    """Write a ratio of :func:`ratio_of_cpu` with its interval."""
    if ratio["low"] == ratio["high"]:  # of a single pair
        return f"{ratio['median']:.3g}"
    digits = 3 if ratio["median"] < 2 else 2 if ratio["median"] < 10 else 1
    return "{median:.{d}f} ({low:.{d}f} to {high:.{d}f})".format(**ratio, d=digits)


def median_ms(side: Mapping[str, Any], clock: str = "cpu") -> float:
    """Return the median time of a side of the results, in milliseconds."""
    return 1000 * statistics.median(side[f"{clock}_seconds"])


def setting_text(about: Mapping[str, Any], rounds: int) -> str:
    """Say what ran the measurement, from :func:`pu_unet_monai.runtime.machine.machine`."""
    return (
        f"median of {rounds} alternating rounds, {about['threads']} thread(s) of {about['processor']} "
        f"(AMX {about['amx']}, AVX512-BF16 {about['avx512_bf16']}), torch {about['torch']}, MONAI {about['monai']}"
    )


def goals_text(goals: Sequence[Goal]) -> str:
    """Lay out goals as a Markdown table."""
    rows = [
        [g["what"], g["goal"], g["measured"], {True: "yes", False: "no", None: ""}[g["met"]], g["note"]] for g in goals
    ]
    return markdown_table(["goal", "aimed at", "measured", "met", "note"], rows)
