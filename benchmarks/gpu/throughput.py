"""How many images or volumes a second a training goes through, data loading aside."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu.conditions import Conditions, Row, Workload, attempt, workload
from benchmarks.gpu.sides import TrainingStep, synchronize

__all__ = ["measure"]

_LAYOUTS = {"channels last": None, "contiguous": torch.contiguous_format}
_SECONDS = 2.0
_WARM_UP = 3


def measure(conditions: Conditions) -> Iterator[Row]:
    """Measure the PU-UNet in both low precisions and both layouts of its weights."""
    for work in (workload(conditions, 2, 352, 8), workload(conditions, 3, 128)):
        for layout in _LAYOUTS:
            for precision in ("bfloat16", "float16"):
                row = {"workload": str(work), "precision": precision, "layout": layout}
                yield attempt(conditions, row, _throughput, conditions, work, precision, layout)


def _throughput(conditions: Conditions, work: Workload, precision: str, layout: str) -> dict[str, Any]:
    network = work.pu_unet(conditions.device)
    memory_format = _LAYOUTS[layout]
    if memory_format is not None:
        network.to(memory_format=memory_format)  # type: ignore[call-overload]
    step = TrainingStep(work, network, conditions.device, precision)
    for _ in range(1 if conditions.quick else _WARM_UP):
        step()
    synchronize()
    seconds = 0.1 if conditions.quick else _SECONDS
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        step()
        steps += 1
        if steps % 10 == 0:
            synchronize()  # or steps would queue up behind the clock
    synchronize()
    took = time.perf_counter() - started
    return {"steps": steps, "items_per_second": steps * work.batch / took}
