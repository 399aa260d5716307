"""PU-UNet beside networks of MONAI: size, multiply-adds, latency, training step and its bytes."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterator
from typing import Any

from torch import nn

from benchmarks.gpu.conditions import Conditions, Row, Workload, attempt, workload
from benchmarks.gpu.sides import Side, TrainingStep, add_times, infer, peak_bytes
from pu_unet_monai.evaluation.complexity import count_macs, count_parameters
from pu_unet_monai.networks import network_options

__all__ = ["NAMES", "measure"]

NAMES = ("pu_unet", "residual_unet", "unet", "segresnet", "dynunet", "attention_unet", "swin_unetr")

_PRECISION = "bfloat16"
_ROUNDS = 11


def measure(conditions: Conditions) -> Iterator[Row]:
    """Measure in 2D, training in batches of 8, and in 3D."""
    for work in (workload(conditions, 2, 256, 8), workload(conditions, 3, 96)):
        yield from _measure(conditions, work)


def _measure(conditions: Conditions, work: Workload) -> Iterator[Row]:
    single = work._replace(batch=1)
    # in 3D the transformer pads the tiny volumes of a quick run to large ones
    names = [name for name in NAMES if not (conditions.quick and (work.spatial_dims, name) == (3, "swin_unetr"))]
    rows: dict[str, Row] = {}
    for name in names:
        row: Row = {"workload": str(work), "network": name, "precision": _PRECISION}
        rows[name] = attempt(conditions, row, _count, conditions, work, name)
    counted = [name for name in names if "parameters" in rows[name]]
    inference: dict[str, Side] = {}
    for name in counted:
        rows[name] = attempt(conditions, rows[name], _begin_inference, inference, conditions, single, name)
    add_times(conditions, rows, inference, "latency_seconds", _ROUNDS)
    inference.clear()
    training: dict[str, Side] = {}
    for name in counted:
        rows[name] = attempt(conditions, rows[name], _begin_training, training, conditions, work, name)
    add_times(conditions, rows, training, "step_seconds", _ROUNDS)
    for found in rows.values():
        for key in ("latency", "step"):
            if f"{key}_seconds" in found:
                found[f"{key}_median"] = statistics.median(found[f"{key}_seconds"])
    yield from rows.values()


def _network(conditions: Conditions, work: Workload, name: str) -> nn.Module:
    """Return a network of the same widths where it takes widths, and of about the same where it takes one."""
    options: dict[str, Any] = {"channels": work.widths, "init_filters": work.widths[0]}
    if name == "swin_unetr":
        options["feature_size"] = 12 if conditions.quick else 24
    return work.network(name, conditions.device, **{k: v for k, v in options.items() if k in network_options(name)})


def _count(conditions: Conditions, work: Workload, name: str) -> dict[str, Any]:
    network = _network(conditions, work, name)
    return {
        "parameters": count_parameters(network),
        "macs": count_macs(network, (1, *work.input_size[1:])),
        "step_bytes": peak_bytes(conditions, functools.partial(_step, conditions, work, name)),
    }


def _step(conditions: Conditions, work: Workload, name: str) -> TrainingStep:
    return TrainingStep(work, _network(conditions, work, name), conditions.device, _PRECISION)


def _begin_inference(sides: dict[str, Side], conditions: Conditions, work: Workload, name: str) -> dict[str, Any]:
    side = functools.partial(infer, _network(conditions, work, name), work.image(conditions.device), _PRECISION)
    side()
    sides[name] = side
    return {}


def _begin_training(sides: dict[str, Side], conditions: Conditions, work: Workload, name: str) -> dict[str, Any]:
    side = _step(conditions, work, name)
    side()
    sides[name] = side
    return {}
