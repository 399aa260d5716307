"""PU-UNet against its matched baseline: latency, training step, and bytes of a step."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.conditions import Conditions, Row, Workload, attempt, forget_compiled, workload
from benchmarks.gpu.sides import (
    GraphedInference,
    Side,
    TrainingStep,
    compiled,
    infer,
    peak_bytes,
    ratio_of,
    synchronize,
    time_sides,
)

__all__ = ["goals", "measure"]

_NAMES = ("PU-UNet", "baseline")
_LIMITS = {"latency": 1.005, "training step": 1.03, "training bytes": 1.0}
"""The largest ratios that are aimed at."""
_HOW = "the median counts, at three digits; in brackets its 95 % interval, bytes have none"


def measure(conditions: Conditions) -> Iterator[Row]:
    """Measure what needs no compiler first, which takes the longest to start."""
    inference = [workload(conditions, 2, 256), workload(conditions, 2, 352), workload(conditions, 2, 352, 8)]
    inference = list(dict.fromkeys([*inference, workload(conditions, 3, 128)]))
    training = [workload(conditions, 2, 352, 8), workload(conditions, 3, 128)]
    precisions = ("float32", "bfloat16")
    for work in inference:
        for precision in precisions:
            for mode in ("eager", "CUDA graph"):
                yield _compare(conditions, "latency", work, precision, mode, _latency)
    for work in training:
        for precision in precisions:
            yield _compare(conditions, "training step", work, precision, "eager", _training)
            yield _compare(conditions, "training bytes", work, precision, "eager", _bytes)
    if conditions.quick:  # the compiler is tried once, by the numerics
        return
    for precision in reversed(precisions):
        for work in (inference[0], inference[2], inference[3]):
            yield _compare(conditions, "latency", work, precision, "compile", _latency)
    yield _compare(conditions, "training step", training[0], "bfloat16", "compile", _training)


def goals(rows: list[Row], dry_run: bool) -> list[dict[str, Any]]:
    """Say of every measured row whether its goal is met; of a dry run, which tells nothing about a GPU, None."""
    found = []
    for row in rows:
        if "ratio" not in row:
            continue
        limit, ratio = _LIMITS[row["what"]], row["ratio"]
        of = f"{row['what']} of PU-UNet over its baseline, {row['workload']}, {row['precision']}, {row['mode']}"
        found.append(
            {
                "what": of,
                "goal": f"at most {limit:.3f}",
                "measured": f"{ratio['median']:.4f} ({ratio['low']:.4f} to {ratio['high']:.4f})",
                "met": None if dry_run else round(ratio["median"], 3) <= limit,
                "note": "dry run on the CPU" if dry_run else _HOW,
            }
        )
    return found


def _compare(
    conditions: Conditions, what: str, work: Workload, precision: str, mode: str, measure_pair: Callable[..., Row]
) -> Row:
    row = {"what": what, "workload": str(work), "precision": precision, "mode": mode}
    return attempt(conditions, row, measure_pair, conditions, work, precision, mode)


def _networks(conditions: Conditions, work: Workload) -> dict[str, nn.Module]:
    return dict(zip(_NAMES, (work.pu_unet(conditions.device), work.baseline(conditions.device)), strict=True))


def _latency(conditions: Conditions, work: Workload, precision: str, mode: str) -> dict[str, Any]:
    forget_compiled()
    image = work.image(conditions.device)
    sides: dict[str, Side] = {}
    for name, network in _networks(conditions, work).items():
        if mode == "CUDA graph":
            sides[name] = functools.partial(GraphedInference(network, image, precision), image)
        else:
            run = compiled(conditions, network) if mode == "compile" else network
            sides[name] = functools.partial(infer, run, image, precision)
    return _times(conditions, sides)


def _training(conditions: Conditions, work: Workload, precision: str, mode: str) -> dict[str, Any]:
    forget_compiled()
    sides: dict[str, Side] = {}
    for name, network in _networks(conditions, work).items():
        run = compiled(conditions, network) if mode == "compile" else None
        sides[name] = TrainingStep(work, network, conditions.device, precision, run)
    return _times(conditions, sides)


def _times(conditions: Conditions, sides: dict[str, Side]) -> dict[str, Any]:
    seconds = time_sides(conditions, sides)
    first, second = (seconds[name] for name in _NAMES)
    return {
        "rounds": len(first),
        "ratio": ratio_of(first, second),
        "medians": {name: statistics.median(seconds[name]) for name in _NAMES},
        "seconds": seconds,
    }


def _bytes(conditions: Conditions, work: Workload, precision: str, mode: str) -> dict[str, Any]:
    if conditions.device.type != "cuda":
        _take_a_step(conditions, work, precision)
        return {"skipped": "PyTorch counts no bytes on a CPU"}
    _take_a_step(conditions, work, precision)  # libraries keep what they allocate at their first call
    makers = (work.pu_unet, work.baseline)
    found = {
        name: peak_bytes(conditions, functools.partial(_make_step, conditions, work, precision, make))
        for name, make in zip(_NAMES, makers, strict=True)
    }
    first, second = (found[name] or 0 for name in _NAMES)
    ratio = round(first / second, 5)
    return {"ratio": {"median": ratio, "low": ratio, "high": ratio}, "medians": found}


def _make_step(
    conditions: Conditions, work: Workload, precision: str, make: Callable[[torch.device], nn.Module]
) -> TrainingStep:
    return TrainingStep(work, make(conditions.device), conditions.device, precision)


def _take_a_step(conditions: Conditions, work: Workload, precision: str) -> None:
    _make_step(conditions, work, precision, work.baseline)()
    synchronize()
