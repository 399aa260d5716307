"""Measuring several programs in one run, alternately, since a machine's speed drifts."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import stats
from tqdm import tqdm

__all__ = ["Ratio", "Times", "alternate", "alternate_here", "ratio"]

Times = dict[str, dict[str, list[float]]]
"""Seconds of wall time and of CPU time of every run, by side: ``{"side": {"wall": [...], "cpu": [...]}}``."""

_RESAMPLES = 2000

# imported once for all processes, before anything is computed: it takes longer than many a thing that is measured
_IMPORTED = ["pu_unet_monai.inferers", "pu_unet_monai.runtime.formats"]


class Ratio(NamedTuple):
    """A ratio of times: the median of the pairwise ratios, and its 95 % bootstrap interval over the pairs."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


def alternate(
    sides: Mapping[str, Callable[[], Any]], rounds: int, warm_ups: Mapping[str, Callable[[], Any]] | None = None
) -> tuple[Times, dict[str, Any]]:
    """Run all sides once a round, in turn, each in a process of its own, and just before each time unmeasured.

    While the others run, what a process keeps gets cold: caches, and huge pages that Linux takes apart.

    Args:
        sides: what to run, by name: functions of a module, or ``functools.partial`` of them.
        rounds: how many times.
        warm_ups: what each side runs unmeasured, by name. Defaults to the sides themselves.

    Returns:
        The times, and what each side returned the last time.
    """
    times: Times = {name: {"wall": [], "cpu": []} for name in sides}
    found: dict[str, Any] = {}
    warm_ups = sides if warm_ups is None else warm_ups
    with contextlib.ExitStack() as stack:
        processes = {name: stack.enter_context(_new_process()) for name in sides}
        for _ in tqdm(range(rounds), desc="rounds", disable=None):
            for name, side in sides.items():
                processes[name].submit(_timed, warm_ups[name]).result()
                wall, cpu, found[name] = processes[name].submit(_timed, side).result()
                times[name]["wall"].append(wall)
                times[name]["cpu"].append(cpu)
    return times, found


def _new_process() -> ProcessPoolExecutor:
    """Start a process with this one's environment; a fork of this one would inherit its allocator and threads, too."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(_IMPORTED)
    return ProcessPoolExecutor(1, mp_context=server, initializer=_set_environment, initargs=(dict(os.environ),))


def _set_environment(variables: Mapping[str, str]) -> None:
    """Take over what has changed since the server of forks started."""
    os.environ.clear()
    os.environ.update(variables)


def alternate_here(sides: Mapping[str, Callable[[], Any]], rounds: int) -> Times:
    """Run all sides once a round, in turn, in this process, after two unmeasured rounds: for what takes milliseconds.

    Args:
        sides: what to run, by name.
        rounds: how many times.
    """
    times: Times = {name: {"wall": [], "cpu": []} for name in sides}
    for run in tqdm(range(-2, rounds), desc="rounds", disable=None):
        for name, side in sides.items():
            wall, cpu, _ = _timed(side)
            if run >= 0:
                times[name]["wall"].append(wall)
                times[name]["cpu"].append(cpu)
    return times


def _timed(side: Callable[[], Any]) -> tuple[float, float, Any]:
    _synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    result = side()
    _synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ratio(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """Compare the times of two sides, pair by pair: first / second."""
    ratios = np.asarray(first) / np.asarray(second)
    median = float(np.median(ratios))
    if len(ratios) < 2 or np.ptp(ratios) == 0:
        return Ratio(median, median, median)
    interval = stats.bootstrap(
        (ratios,), np.median, n_resamples=_RESAMPLES, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return Ratio(median, float(interval.low), float(interval.high))
