"""A whole brain: MONAI's windows against one pass over the foreground."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from torch import nn

from benchmarks.gpu.conditions import Conditions, Row, Workload, attempt
from benchmarks.gpu.sides import Side, add_times, infer, peak_bytes, ratio_of

__all__ = ["brain", "dice", "measure"]

WEIGHTS = Path(__file__).parents[2] / "bundles" / "pu_unet_brats" / "models" / "model.pt"

_SIZE = (240, 240, 155)
_BRAIN = (138, 173, 138)
"""The extent of the brain of a BraTS case."""
_QUICK_SIZE = (16, 20, 16)
_QUICK_BRAIN = (9, 11, 7)
_WIDTHS = (16, 32, 64, 128, 256)
_ROUNDS = 5

_WINDOWS, _ONE_PASS = "MONAI's windows", "foreground in one pass"
_SIDES = ((_WINDOWS, "float32"), (_WINDOWS, "bfloat16"), (_ONE_PASS, "float32"), (_ONE_PASS, "bfloat16"))


def measure(conditions: Conditions) -> Iterator[Row]:
    """Measure; random numbers in a brain's shape give the work of a case, and no tumour."""
    size, extent = (_QUICK_SIZE, _QUICK_BRAIN) if conditions.quick else (_SIZE, _BRAIN)
    rows: dict[str, Row] = {}
    sides: dict[str, Side] = {}
    masks: dict[str, torch.Tensor] = {}
    network: dict[str, nn.Module] = {}
    about = attempt(conditions, {}, _load, conditions, network)
    about.pop("took_seconds", None)
    image = brain(size, extent).to(conditions.device)
    for way, precision in _SIDES:
        name = f"{way}, {precision}"
        row = {"size": "x".join(map(str, size)), "way": way, "precision": precision, **about}
        if network:
            make = functools.partial(_side, conditions, network["PU-UNet"], image, way, precision)
            row = attempt(conditions, row, _begin, conditions, sides, masks, name, make)
        rows[name] = row
    add_times(conditions, rows, sides, "seconds", _ROUNDS)
    first = rows[f"{_WINDOWS}, float32"].get("seconds")
    for way, precision in _SIDES:
        row, same = rows[f"{way}, {precision}"], f"{way}, float32"
        if "seconds" in row:
            row["median"] = statistics.median(row["seconds"])
            row["times_faster"] = ratio_of(first, row["seconds"]) if first else None
            row["dice_with_float32"] = dice(masks[f"{way}, {precision}"], masks[same]) if same in masks else None
    yield from rows.values()


def brain(size: tuple[int, ...], extent: tuple[int, ...]) -> torch.Tensor:
    """Return an ellipsoid of random normal numbers in the middle of zeros, (1, 4, *size).

    Args:
        size: of the volume.
        extent: of the ellipsoid along each axis, odd or even, in voxels.
    """
    axes = [
        (torch.arange(length) - (length - 1) // 2) / (within / 2) for length, within in zip(size, extent, strict=True)
    ]
    inside = sum(axis**2 for axis in torch.meshgrid(*axes, indexing="ij")) < 1
    return torch.randn(1, 4, *size, generator=torch.Generator().manual_seed(0)) * inside


def dice(mask: torch.Tensor, other: torch.Tensor) -> float:
    """Return the Dice of two masks; 1 if both are empty."""
    both = int(mask.sum() + other.sum())
    return 2 * int((mask & other).sum()) / both if both else 1.0


def _load(conditions: Conditions, network: dict[str, nn.Module]) -> dict[str, Any]:
    """Make the bundle's network, with its weights if they are there, and say which they are."""
    work = Workload(3, 1, 1, _WIDTHS)
    made = work.pu_unet(conditions.device)
    weights = "random"
    if WEIGHTS.is_file():
        made.load_state_dict(torch.load(WEIGHTS, map_location=conditions.device, weights_only=True))
        weights = "bundle pu_unet_brats"
    network["PU-UNet"] = made
    return {"weights": weights}


def _side(conditions: Conditions, network: nn.Module, image: torch.Tensor, way: str, precision: str) -> Side:
    windows = SlidingWindowInferer(16 if conditions.quick else 128, sw_batch_size=1, overlap=0.5)
    inferer: Inferer = windows
    if way == _ONE_PASS:
        from pu_unet_monai.inferers import ForegroundInferer  # which needs nibabel, and the windows do not

        inferer = ForegroundInferer(windows)
    return functools.partial(infer, functools.partial(_run, inferer, network), image, precision)


def _run(inferer: Inferer, network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    output = inferer(image, network)
    last = getattr(inferer, "last", None)
    if last is not None and last["window"] != "foreground":
        raise RuntimeError(f"the foreground did not fit in one pass, but went in windows of {last['window']}")
    return output


def _begin(
    conditions: Conditions, sides: dict[str, Side], masks: dict[str, torch.Tensor], name: str, make: Any
) -> dict[str, Any]:
    side: Side = make()
    masks[name] = (side() > 0).cpu()
    peak = peak_bytes(conditions, make)
    sides[name] = side
    return {"peak_bytes": peak}
