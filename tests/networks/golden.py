"""Outputs of the networks, stored in the repository, so that no change of their arithmetic goes unseen.

Weights and input follow a formula, so neither PyTorch's random numbers nor its initialisation matter. The test only
ever reads the files. To write the file of a new network::

    python -m tests.networks.golden NAME

Files that exist are left alone, unless a change of the arithmetic is intended: ``--overwrite`` prints by how much
each one changed, which belongs in the changelog, since trained weights will give other results.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from .base_tester import NetworkCase

FOLDER = Path(__file__).parent / "golden"
VALUES = 40
TOLERANCE = 1e-4


def wave(shape: tuple[int, ...], phase: float) -> torch.Tensor:
    """Numbers between -1 and 1 that look irregular: a sine of a quadratic, computed in float64."""
    i = np.arange(math.prod(shape), dtype=np.float64)
    return torch.from_numpy(np.sin(phase + 1.3 * i + 0.011 * i * i).reshape(shape)).float()


@torch.no_grad()
def fill(network: nn.Module) -> None:
    """Give every parameter values by formula: weights scaled by the fan-in, vectors near their usual start."""
    for number, (name, parameter) in enumerate(network.named_parameters()):
        values = wave(tuple(parameter.shape), phase=float(number))
        if parameter.dim() > 1:
            values *= math.sqrt(3 / (parameter.numel() / parameter.shape[0]))
        else:
            values *= 0.2
            if name.endswith("weight"):  # of a norm
                values += 1
        parameter.copy_(values)


@torch.no_grad()
def compute(case: NetworkCase) -> dict[str, Any]:
    """Output of a network with weights and input by formula: its shape, its spread and some of its values."""
    network = case.create()
    fill(network)
    y = network(1.5 * wave((2, case.in_channels, *case.size), phase=0.5)).double()
    assert y.std() > 0.05, "a flat output would hide changes"
    picked = y.flatten()[torch.linspace(0, y.numel() - 1, VALUES).long()]
    return {
        "shape": list(y.shape),
        "mean": round(y.mean().item(), 6),
        "std": round(y.std().item(), 6),
        "values": [round(value, 6) for value in picked.tolist()],
    }


def difference(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """Largest absolute difference, infinite where the shapes differ."""
    if found["shape"] != expected["shape"] or len(found["values"]) != len(expected["values"]):
        return math.inf
    pairs = zip(*([r["mean"], r["std"], *r["values"]] for r in (found, expected)), strict=True)
    return float(np.max([abs(a - b) for a, b in pairs]))  # NaN stays NaN


def check(case: NetworkCase, folder: Path = FOLDER) -> None:
    """Compare a network's output with the stored one."""
    path = folder / f"{case.id}.json"
    assert path.is_file(), f"no golden output {path}: see the top of {__file__}"
    found, expected = compute(case), json.loads(path.read_text())
    assert difference(found, expected) <= TOLERANCE, (
        f"{case.id}: the output changed by {difference(found, expected):.3g}; if that is intended, "
        "see the top of tests/networks/golden.py"
    )


def write(case: NetworkCase, folder: Path = FOLDER, overwrite: bool = False) -> str:
    """Store a network's output; returns what was done."""
    path = folder / f"{case.id}.json"
    found = compute(case)
    what = "written"
    if path.exists():
        changed = difference(found, json.loads(path.read_text()))
        if changed <= TOLERANCE:
            return f"{case.id}: unchanged"
        if not overwrite:
            return f"{case.id}: differs by {changed:.3g}, LEFT AS IT IS (--overwrite replaces it)"
        what = f"overwritten, differed by {changed:.3g}"
    path.write_text(json.dumps(found, indent=1) + "\n")
    return f"{case.id}: {what}"


def main(arguments: list[str]) -> None:
    """Write golden files, see the top of the module."""
    from .cases import all_cases

    cases = {case.id: case for case in all_cases()}
    parser = argparse.ArgumentParser(prog="python -m tests.networks.golden", description="Write golden outputs.")
    parser.add_argument("name", nargs="+", choices=sorted(cases), help="a network of the test modules' CASES")
    parser.add_argument("--overwrite", action="store_true", help="replace files whose values differ")
    options = parser.parse_args(arguments)
    for name in options.name:
        print(write(cases[name], overwrite=options.overwrite))


if __name__ == "__main__":
    main(sys.argv[1:])
