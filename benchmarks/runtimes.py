"""One forward pass in every runtime and precision against PyTorch in float32 as it comes, same network.

    python -m benchmarks.runtimes
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python -m benchmarks.runtimes      # convolutions without AVX-512

Each side in a process of its own, in turns, on one thread, each time after an unmeasured pass. PyTorch as it comes:
channels first, malloc as it is. (The variables hold oneDNN and PyTorch to AVX2; what OpenVINO computes beside
convolutions keeps AVX-512.) The package's sides: what ``RuntimeInferer`` runs, with huge pages and freed memory kept,
as ``predict`` has them.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import alternate
from benchmarks.reporting import Goal, goals_text, median_ms, ratio_of_cpu, ratio_text, raw_times, setting_text
from benchmarks.run_as import run_as_predict, run_as_pytorch
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.networks.nets import PUUNet
from pu_unet_monai.runtime.accelerate import AcceleratedNetwork
from pu_unet_monai.runtime.machine import machine
from pu_unet_monai.runtime.malloc import generous_malloc
from pu_unet_monai.runtime.precision import cpu_is_fast_in_bfloat16

PLAIN = "PyTorch as it comes, float32"
SIZES = {"2D, 256x256": (1, 3, 256, 256), "2D, 352x352": (1, 3, 352, 352), "3D, 128x128x128": (1, 4, 128, 128, 128)}
QUICK = {"2D, 48x48": (1, 3, 48, 48)}


def plain(size: Sequence[int], channels: Sequence[int]) -> torch.Tensor:
    """Run the network as PyTorch's user would."""
    run_as_pytorch()
    return _forward(_network(tuple(size), tuple(channels)), tuple(size))


def accelerated(size: Sequence[int], channels: Sequence[int], runtime: str, precision: str) -> torch.Tensor:
    """Run the network as this package does."""
    run_as_predict()
    with generous_malloc():
        return _forward(_accelerated(tuple(size), tuple(channels), runtime, precision), tuple(size))


@torch.no_grad()
def _forward(network: torch.nn.Module, size: tuple[int, ...]) -> torch.Tensor:
    torch.set_num_threads(1)
    return network(_image(size))


@functools.cache
def _image(size: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(0))


@functools.cache
def _network(size: tuple[int, ...], channels: tuple[int, ...]) -> PUUNet:
    torch.manual_seed(0)
    return PUUNet(len(size) - 2, size[1], 3 if len(size) == 5 else 1, channels).eval()


@functools.cache
def _accelerated(size: tuple[int, ...], channels: tuple[int, ...], runtime: str, precision: str) -> AcceleratedNetwork:
    return AcceleratedNetwork(_network(size, channels), runtime, precision, _image(size))


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="also torch.compile, which takes minutes to start")
    parser.add_argument("--quick", action="store_true", help="a small network and few rounds, to try the program")
    parser.add_argument("--output", type=Path, default=Path("output/bench"), help="folder")
    args = parser.parse_args(argv)

    isa = os.environ.get("ONEDNN_MAX_CPU_ISA")
    low = cpu_is_fast_in_bfloat16() and not isa
    runtimes = ["eager"] + ["openvino"] * bool(importlib.util.find_spec("openvino")) + ["compile"] * args.compile
    kinds = [(runtime, precision) for precision in ["float32"] + ["bfloat16"] * low for runtime in runtimes]
    sizes = QUICK if args.quick else SIZES
    rounds = 2 if args.quick else args.rounds
    found = {name: _measure(size, kinds, rounds, args.quick) for name, size in sizes.items()}
    results = {"machine": machine(), "isa": isa, "rounds": rounds, "sizes": found, "goals": _goals(found, isa)}
    write_results(results, _text(results), args.output / ("runtimes" if isa is None else f"runtimes_{isa.lower()}"))
    print(_text(results))
    return 0


def _measure(size: Sequence[int], kinds: Sequence[tuple[str, str]], rounds: int, quick: bool) -> dict[str, Any]:
    channels = (8, 16, 32) if quick else (16, 32, 64, 128, 256) if len(size) == 5 else (32, 64, 128, 256, 512)
    sides = {PLAIN: functools.partial(plain, size, channels)}
    for runtime, precision in kinds:
        sides[f"{runtime}, {precision}"] = functools.partial(accelerated, size, channels, runtime, precision)
    times, logits = alternate(sides, rounds)
    largest = logits[PLAIN].abs().max().item()
    return {
        name: raw_times(times[name])
        | {
            "times_less_cpu": ratio_of_cpu(times[PLAIN], times[name]),
            "difference": (logits[name] - logits[PLAIN]).abs().max().item() / largest,
        }
        for name in sides
    }


def _goals(found: Mapping[str, Any], isa: str | None) -> list[Goal]:
    """Compare the best side of each size with the goal of this kind of CPU, which all sizes have to meet."""
    with_amx = isa is None and torch.cpu._is_amx_tile_supported()
    goal = 5.0 if with_amx else 1.4
    cpu = "with AMX" if with_amx else f"any CPU ({isa or 'this one'})"
    best = {
        size: max(sides.items(), key=lambda side: side[1]["times_less_cpu"]["median"]) for size, sides in found.items()
    }
    ratios = {size: side["times_less_cpu"] for size, (_, side) in best.items()}
    return [
        {
            "what": f"one forward, best runtime against PyTorch in float32 as it comes, {cpu}",
            "goal": f"at least {goal:g}x",
            "measured": "; ".join(f"{size}: {ratio_text(ratio)}x" for size, ratio in ratios.items()),
            "met": all(ratio["median"] >= goal for ratio in ratios.values()),
            "note": "; ".join(name for name, _ in best.values()),
        }
    ]


def _text(results: Mapping[str, Any]) -> str:
    rows = [
        [size, name, f"{median_ms(side, 'wall'):,.0f}", f"{median_ms(side):,.0f}"]
        + [ratio_text(side["times_less_cpu"]), f"{side['difference']:.1e}"]
        for size, sides in results["sizes"].items()
        for name, side in sides.items()
    ]
    columns = ["PU-UNet", "side", "wall ms", "CPU ms", "times less CPU", "largest difference of logits, relative"]
    limited = f" limited to {results['isa']}" if results["isa"] else ""
    return (
        f"One forward pass, {setting_text(results['machine'], results['rounds'])}{limited}.\n\n"
        f"{markdown_table(columns, rows)}\n\n{goals_text(results['goals'])}"
    )


if __name__ == "__main__":
    sys.exit(main())
