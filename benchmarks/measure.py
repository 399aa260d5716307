"""Measuring several programs in one run, alternately, since a machine's speed drifts."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import monai
import torch
from tqdm import tqdm

from pu_unet_monai.files import atomic_path

__all__ = ["alternate", "machine", "markdown_table", "median_ratio", "write_results"]


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


def machine() -> dict[str, Any]:
    """Say what ran: processor, the instructions that matter, threads, versions."""
    return {
        "processor": _processor(),
        "amx": torch.cpu._is_amx_tile_supported(),
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "monai": monai.__version__,
    }


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (columns, ["---"] * len(columns), *rows))


def write_results(results: Mapping[str, Any], text: str, stem: Path) -> None:
    """Write ``<stem>.json`` and ``<stem>.md``."""
    for path, content in ((stem.with_suffix(".json"), json.dumps(results, indent=2)), (stem.with_suffix(".md"), text)):
        with atomic_path(path) as temporary:
            temporary.write_text(content + "\n", encoding="utf-8")


def _processor() -> str:
    """Name the processor; ``platform.processor()`` is empty on Linux."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
