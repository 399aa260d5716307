"""A training step in bfloat16 with PyTorch's GroupNorm and with ours, whose backward pass is another on a CPU.

    OMP_NUM_THREADS=1 python -m benchmarks.group_norm

PU-UNet, one batch of random images, forward and backward, alternately in one process: of both, the CPU time, and the
largest difference of a gradient, relative to the largest gradient of its tensor. The networks have the same weights.
"""

from __future__ import annotations

import argparse
import copy
import functools
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.measure import alternate_here, ratio
from benchmarks.run_as import run_as_predict
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.files import make_folder
from pu_unet_monai.losses import BCEFocalTverskyLoss
from pu_unet_monai.networks.blocks.group_norm import GroupNorm
from pu_unet_monai.networks.memory_format import lay_channels_last
from pu_unet_monai.networks.nets import PUUNet
from pu_unet_monai.runtime.machine import machine

_CASES: Sequence[tuple[int, int, tuple[int, ...]]] = (
    (16, 8, (128, 128)),
    (32, 8, (128, 128)),
    (32, 4, (352, 352)),
    (16, 1, (96, 96, 96)),
)
"""Base width, images in a batch, and size of an image."""
_THEIRS, _OURS = "PyTorch's GroupNorm", "ours"


def with_pytorchs_norm(network: nn.Module) -> nn.Module:
    """Return a copy of a network with PyTorch's GroupNorm in place of ours."""
    network = copy.deepcopy(network)
    for name, norm in [(n, m) for n, m in network.named_modules() if isinstance(m, GroupNorm)]:
        plain = nn.GroupNorm(norm.num_groups, norm.num_channels, norm.eps)
        plain.load_state_dict(norm.state_dict())
        network.set_submodule(name, plain)
    return network


def step(network: nn.Module, image: torch.Tensor, target: torch.Tensor) -> None:
    """Compute the gradients of a batch, as a bundle's training does where bfloat16 is fast."""
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        output = network(image)
    BCEFocalTverskyLoss()(output.float(), target).backward()


def measure(width: int, batch: int, size: Sequence[int], rounds: int) -> dict[str, Any]:
    """Measure both on one kind of batch."""
    torch.manual_seed(0)
    channels = 4 if len(size) == 3 else 3
    network = PUUNet(len(size), channels, channels=[width * 2**level for level in range(5)])
    lay_channels_last(network)
    sides = {_THEIRS: with_pytorchs_norm(network), _OURS: network}
    image, target = torch.rand(batch, channels, *size), (torch.rand(batch, 1, *size) > 0.5).float()
    times = alternate_here({name: functools.partial(step, side, image, target) for name, side in sides.items()}, rounds)
    return {
        "width": width,
        "batch": [batch, *size],
        "cpu": {name: [round(t, 4) for t in times[name]["cpu"]] for name in sides},
        "ratio": str(ratio(times[_THEIRS]["cpu"], times[_OURS]["cpu"])),
        "gradient difference": max(
            float((ours.grad - theirs.grad).abs().max() / theirs.grad.abs().max())
            for ours, theirs in zip(network.parameters(), sides[_THEIRS].parameters(), strict=True)
            if ours.grad is not None and theirs.grad is not None and theirs.grad.any()
        ),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="one tiny batch, for a trial")
    parser.add_argument("--output", type=Path, default=Path("output/bench"), help="folder of group_norm.json and .md")
    args = parser.parse_args(argv)
    run_as_predict()
    cases = [(8, 1, (32, 32))] if args.quick else [*_CASES]
    results = {
        "machine": machine(),
        "rounds": args.rounds,
        "cases": [measure(*case, rounds=args.rounds) for case in cases],
    }
    make_folder(args.output)
    write_results(results, _text(results), args.output / "group_norm")
    print(_text(results))
    return 0


def _text(results: dict[str, Any]) -> str:
    about = results["machine"]
    rows = [
        [
            f"{case['width']}, {'x'.join(map(str, case['batch']))}",
            *(f"{statistics.median(case['cpu'][name]):.3f}" for name in (_THEIRS, _OURS)),
            case["ratio"],
            f"{case['gradient difference']:.1e}",
        ]
        for case in results["cases"]
    ]
    columns = ["base width, batch", f"{_THEIRS}, s", f"{_OURS}, s", "ratio", "largest difference of a gradient"]
    return (
        f"Forward and backward in bfloat16, CPU time, median of {results['rounds']} alternating rounds, "
        f"{about['threads']} thread(s), {about['processor']}, torch {about['torch']}.\n\n"
        f"{markdown_table(columns, rows)}"
    )


if __name__ == "__main__":
    sys.exit(main())
