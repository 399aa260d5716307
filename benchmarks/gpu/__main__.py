"""Run the parts one after the other and write what they find; see :mod:`benchmarks.gpu`."""

from __future__ import annotations

import argparse
import contextlib
import math
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import benchmarks.gpu
from benchmarks.gpu import baseline, networks, numerics, runtimes, throughput, volume
from benchmarks.gpu.conditions import Conditions, OutOfTime, Row, forget_compiled, release_memory
from benchmarks.gpu.report import report
from benchmarks.gpu.sides import tf32
from pu_unet_monai.errors import UserError, first_cause, print_error
from pu_unet_monai.evaluation.tables import write_results
from pu_unet_monai.runtime.machine import machine

__all__ = ["PARTS", "main"]

_START_SECONDS = 30
PARTS: dict[str, tuple[Callable[[Conditions], Iterator[Row]], int]] = {
    "numerics": (numerics.measure, 80),
    "baseline": (baseline.measure, 140),
    "runtimes": (runtimes.measure, 70),
    "networks": (networks.measure, 65),
    "volume": (volume.measure, 35),
    "throughput": (throughput.measure, 30),
}
"""Each part, and its share of the time in seconds; with the start 450 s."""

_GRACE_SECONDS = 20.0
"""What runs when a part's time is over may take so much longer; then it is broken off."""


_LONG_SECONDS = 1


def main(argv: list[str] | None = None, started: float | None = None) -> int:
    """Measure, and write the results after every part and every line that took long.

    Args:
        argv: the command line's arguments.
        started: the reading of ``time.perf_counter()`` from which the time counts. Defaults to None, now.

    Returns:
        0; 1 if something failed or a number is wrong; 2 if nothing could be begun.
    """
    started = time.perf_counter() if started is None else started
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=benchmarks.gpu.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--output", type=Path, default=Path("output/bench"), help="a folder, or a file ending in .json")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ..., or cpu for a dry run")
    parser.add_argument("--quick", action="store_true", help="tiny networks and images: a trial of the benchmark")
    args = parser.parse_args(argv)
    try:
        device = _find_device(args.device)
        stem = args.output.with_suffix("") if args.output.suffix == ".json" else args.output / "gpu"
        with tf32(False):
            results = _run(device, args.quick, stem, started)
    except UserError as error:
        print_error(error)
        return 2
    print(report(results))
    return 1 if _is_bad(results) else 0


def _find_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"--device: {name!r} found, expected cuda, cuda:1 or cpu.") from error
    if device.type not in ("cuda", "cpu"):
        raise UserError(f"--device: {name!r} found, expected cuda, cuda:1 or cpu.")
    if device.type == "cuda":
        number = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= number:
            raise UserError(
                f"--device: {name} is not among the {number} CUDA device(s) that PyTorch {torch.__version__} finds; "
                "--device cpu makes a dry run."
            )
        device = torch.device("cuda", device.index or 0)
        torch.cuda.set_device(device)
    return device


def _run(device: torch.device, quick: bool, stem: Path, started: float) -> dict[str, Any]:
    dry_run = device.type == "cpu"
    results: dict[str, Any] = {
        "device": str(device),
        "dry_run": dry_run,
        "quick": quick,
        "machine": _machine(device),
        "compiler": "none: traced alone" if quick else "inductor",
        "parts": {},
        "goals": [],
    }

    def write() -> None:
        results["took_seconds"] = round(time.perf_counter() - started, 1)
        results["goals"] = baseline.goals(results["parts"].get("baseline", {}).get("rows", []), dry_run)
        write_results(results, report(results), stem)

    write()  # so that a folder that cannot be written to is known now
    end = started + _START_SECONDS
    for name, (measure, seconds) in PARTS.items():
        end += seconds
        part: dict[str, Any] = {"rows": []}
        results["parts"][name] = part
        conditions = Conditions(device, quick, deadline=math.inf if dry_run else end)
        _measure(part, measure, conditions, write)
        write()
        print(f"{name}: {len(part['rows'])} lines, {results['took_seconds']} s so far", file=sys.stderr, flush=True)
    return results


def _measure(
    part: dict[str, Any],
    measure: Callable[[Conditions], Iterator[Row]],
    conditions: Conditions,
    write: Callable[[], None],
) -> None:
    """Add the rows of a part as they come, until it ends, fails or runs out of time."""
    if not conditions.time_is_left:
        part["remark"] = "Not measured: no time was left."
        return
    try:
        with _broken_off(conditions.deadline + _GRACE_SECONDS):
            for row in measure(conditions):
                part["rows"].append(row)
                if row.get("took_seconds", 0) > _LONG_SECONDS:
                    write()
    except OutOfTime:
        part["remark"] = "Broken off: the time was over."
    except UserError:  # the results cannot be written
        raise
    except Exception as error:
        part["remark"] = f"Failed: {first_cause(error)}"
    forget_compiled()
    release_memory()


@contextlib.contextmanager
def _broken_off(deadline: float) -> Iterator[None]:
    """Raise OutOfTime in the block at a reading of ``time.perf_counter()``, where the system has such an alarm."""
    if math.isinf(deadline) or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _raise_out_of_time)
    # once more some seconds later, should the first have met a finaliser, from which nothing gets out
    signal.setitimer(signal.ITIMER_REAL, max(deadline - time.perf_counter(), 0.001), _GRACE_SECONDS / 4)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _raise_out_of_time(*_: object) -> None:
    raise OutOfTime


def _machine(device: torch.device) -> dict[str, Any]:
    """Say what ran; figures of the GPU are None without one."""
    about = machine() | {"cuda": torch.version.cuda, "driver": None, "cudnn": None, "gpu_memory_gib": None}
    if device.type != "cuda":
        return about
    properties = torch.cuda.get_device_properties(device)
    return about | {
        "gpu": properties.name,
        "gpu_memory_gib": round(properties.total_memory / 2**30, 1),
        "capability": f"{properties.major}.{properties.minor}",
        "driver": _driver(),
        "cudnn": torch.backends.cudnn.version(),
    }


def _driver() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return found[0] if found else None


def _is_bad(results: dict[str, Any]) -> bool:
    parts = results["parts"].values()
    rows = [row for part in parts for row in part["rows"]]
    failed = any(part.get("remark", "").startswith("Failed") for part in parts)
    return failed or any("error" in row or row.get("met") is False for row in rows)


if __name__ == "__main__":
    sys.exit(main(started=benchmarks.gpu.STARTED))
