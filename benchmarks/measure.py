"""Measuring several programs in one run, alternately, since a machine's speed drifts."""

from __future__ import annotations

import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from tqdm import tqdm

__all__ = ["alternate", "median_ratio"]


def alternate(
    sides: Mapping[str, Callable[[], Any]], rounds: int
) -> tuple[dict[str, dict[str, list[float]]], dict[str, Any]]:
    """Run all sides once a round, in turn, each in a process of its own, after one unmeasured round.

    Args:
        sides: what to run, by name: functions of a module, or ``functools.partial`` of them.
        rounds: how many times.

    Returns:
        Seconds of wall time and of CPU time of every run, by side: ``{"side": {"wall": [...], "cpu": [...]}}``; and
        what each side returned the last time.
    """
    times: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in sides}
    found: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        spawn = multiprocessing.get_context("spawn")  # a fork would inherit this process's allocator and threads
        processes = {name: stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn)) for name in sides}
        for run in tqdm(range(rounds + 1), desc="rounds"):
            for name, side in sides.items():
                wall, cpu, found[name] = processes[name].submit(_timed, side).result()
                if run:
                    times[name]["wall"].append(wall)
                    times[name]["cpu"].append(cpu)
    return times, found


def _timed(side: Callable[[], Any]) -> tuple[float, float, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = side()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def median_ratio(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the median of the pairwise ratios first / second."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))
