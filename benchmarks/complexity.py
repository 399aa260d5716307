"""The complexity table of the PU-UNet paper, counted and measured again: the PU-UNet and its matched baseline.

    OMP_NUM_THREADS=1 python -m benchmarks.complexity

Li et al., "PU-UNet" (2026), table 1, gives parameters, FLOPs and the latency of one image on an NVIDIA V100. Counted
here are the parameters, the FLOPs in the paper's convention (see ``count_paper_flops``), and those of PyTorch's own
counter, which has the transposed convolutions too; measured is the latency of one image here, in alternating turns,
weights channels last, memory kept for the next pass as in ``predict``, in float32, and in bfloat16 on a CPU that is
good at it. The milliseconds of two machines do not compare, but what product units cost on top of the baseline does.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import alternate_here
from benchmarks.reporting import Goal, goals_text, median_ms, ratio_of_cpu, raw_times, setting_text
from pu_unet_monai.evaluation.complexity import count_macs, count_paper_flops, count_parameters
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.inferers import CPUBFloat16Inferer
from pu_unet_monai.networks import create_network
from pu_unet_monai.runtime.machine import machine
from pu_unet_monai.runtime.malloc import generous_malloc
from pu_unet_monai.runtime.precision import cpu_is_fast_in_bfloat16

NETWORKS = {"PU-UNet": "pu_unet", "Residual U-Net": "residual_unet"}
PUBLISHED = {
    (352, "PU-UNet"): {"parameters_m": 14.393, "flops_g": 66.727, "latency_ms": 10.213},
    (352, "Residual U-Net"): {"parameters_m": 14.391, "flops_g": 66.725, "latency_ms": 10.073},
    (256, "PU-UNet"): {"parameters_m": 14.393, "flops_g": 35.294, "latency_ms": 5.610},
    (256, "Residual U-Net"): {"parameters_m": 14.391, "flops_g": 35.292, "latency_ms": 5.530},
}
"""Table 1 of the paper, by size in pixels and network; latencies on a V100."""


def main(argv: list[str] | None = None) -> int:
    """Count, measure, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[352, 256], help="of the square images, in pixels")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path("output/bench"), help="folder")
    args = parser.parse_args(argv)

    torch.manual_seed(0)
    networks = {
        name: create_network(key).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for name, key in NETWORKS.items()
    }
    sizes = {str(size): _measure(networks, size, args.rounds) for size in args.sizes}
    results = {"machine": machine(), "rounds": args.rounds, "sizes": sizes, "goals": _goals(sizes)}
    write_results(results, _text(results), args.output / "complexity")
    print(_text(results))
    return 0


def _measure(networks: dict[str, torch.nn.Module], size: int, rounds: int) -> dict[str, Any]:
    """Return what both networks cost at one size."""
    shape = (1, 3, size, size)
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    precisions = ["float32"] + ["bfloat16"] * cpu_is_fast_in_bfloat16()
    sides = {
        (name, precision): functools.partial(_run, network, image, precision)
        for precision in precisions
        for name, network in networks.items()
    }
    with generous_malloc():
        times = alternate_here({", ".join(side): run for side, run in sides.items()}, rounds)
    return {
        "networks": {
            name: {
                "parameters": count_parameters(network),
                "paper_flops": count_paper_flops(network, shape),
                "torch_flops": 2 * count_macs(network, shape),
                "published": PUBLISHED.get((size, name)),
                "times": {precision: raw_times(times[f"{name}, {precision}"]) for precision in precisions},
            }
            for name, network in networks.items()
        },
        "ratios": {
            precision: ratio_of_cpu(*(times[f"{name}, {precision}"] for name in networks)) for precision in precisions
        },
    }


@torch.no_grad()
def _run(network: torch.nn.Module, image: torch.Tensor, precision: str) -> torch.Tensor:
    return CPUBFloat16Inferer(enabled=precision == "bfloat16")(image, network)


def _goals(sizes: dict[str, Any]) -> list[Goal]:
    """Compare with the published numbers, to the last published digit."""
    goals: list[Goal] = []
    for size, found in sizes.items():
        published = {name: found["networks"][name]["published"] for name in NETWORKS}
        if None in published.values():
            continue
        for name, numbers in published.items():
            counted = found["networks"][name]
            for what, key, value in (
                ("parameters (M)", "parameters_m", counted["parameters"] / 1e6),
                ("FLOPs (G), the paper's convention", "flops_g", counted["paper_flops"] / 1e9),
            ):
                met = abs(round(value, 3) - numbers[key]) < 5e-4
                note = "" if met else f"{value:.6f} before rounding: one in the last published digit"
                goals.append(_goal(f"{name}, {size} px, {what}", f"{numbers[key]:.3f}", f"{value:.3f}", met, note))
        goal = published["PU-UNet"]["latency_ms"] / published["Residual U-Net"]["latency_ms"]
        for precision, ratio in found["ratios"].items():
            goals.append(
                _goal(
                    f"time of PU-UNet / Residual U-Net, {size} px, {precision}",
                    f"at most {goal:.3f}",
                    f"{ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})",
                    ratio["median"] <= goal,
                    "published for a V100",
                )
            )
    return goals


def _goal(what: str, goal: str, measured: str, met: bool, note: str) -> Goal:
    return {"what": what, "goal": goal, "measured": measured, "met": met, "note": note}


def _text(results: dict[str, Any]) -> str:
    rows = []
    for size, found in results["sizes"].items():
        for name, side in found["networks"].items():
            published = side["published"] or {}
            rows.append(
                [
                    f"{size}x{size}",
                    name,
                    f"{side['parameters']:,}",
                    _with_published(side["paper_flops"] / 1e9, published.get("flops_g")),
                    f"{side['torch_flops'] / 1e9:.3f}",
                    *(f"{median_ms(times):.1f}" for times in side["times"].values()),
                    f"{published['latency_ms']:.3f}" if published else "-",
                ]
            )
    precisions = list(next(iter(results["sizes"].values()))["ratios"])
    columns = ["size", "network", "parameters", "FLOPs, paper's convention (G)", "FLOPs, PyTorch's (G)"]
    columns += [f"CPU ms, {precision}" for precision in precisions] + ["published ms, V100"]
    ratios = [
        [f"{size}x{size}", precision, f"{ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"]
        for size, found in results["sizes"].items()
        for precision, ratio in found["ratios"].items()
    ]
    parts = [
        f"One image, {setting_text(results['machine'], results['rounds'])}. The paper's convention: two per "
        "multiply-add of a convolution, none for transposed ones, one per residual addition and per product unit's "
        "bias; PyTorch's: two per multiply-add, transposed convolutions too.",
        markdown_table(columns, rows),
        "CPU time of the PU-UNet / that of the Residual U-Net, with 95 % interval:",
        markdown_table(["size", "precision", "ratio"], ratios),
    ]
    if results["goals"]:
        parts.append(goals_text(results["goals"]))
    return "\n\n".join(parts)


def _with_published(value: float, published: float | None) -> str:
    return f"{value:.3f}" if published is None else f"{value:.3f} (published {published:.3f})"


if __name__ == "__main__":
    sys.exit(main())
