"""The product unit's price: PU-UNet against the same network with convolutions, in time and in memory.

    python -m benchmarks.pu_against_baseline

Two networks of the same widths that differ in the placement of product units alone, in turns, in one process and on one
thread: the latency of one image in the runtime that is fastest for the baseline, and a training step (forward, loss,
backward). The bytes of a training step are counted, not measured: all tensors at its worst moment.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.measure import alternate_here
from benchmarks.reporting import Goal, goals_text, median_ms, ratio_of_cpu, ratio_text, raw_times, setting_text
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.networks.memory_format import lay_channels_last
from pu_unet_monai.networks.nets import PUUNet
from pu_unet_monai.runtime.accelerate import AcceleratedNetwork
from pu_unet_monai.runtime.dry_run import dry_run
from pu_unet_monai.runtime.machine import machine
from pu_unet_monai.runtime.malloc import generous_malloc
from pu_unet_monai.runtime.precision import cpu_is_fast_in_bfloat16

PLACEMENTS = {"baseline": "none", "PU-UNet": "low_resolution"}
RUNTIMES = ("eager", "openvino")
LATENCY_GOALS = {"float32": 1.02, "bfloat16": 1.05}
STEP_GOAL, BYTES_GOAL = 1.03, 1.0


@dataclass(frozen=True)
class Setting:
    """What is measured: a network, a size, how often.

    Args:
        channels: widths of the networks.
        size: of one image or volume, (B, C, *spatial).
        step_size: of a training step, likewise.
        pairs: of latencies.
        steps: of training, pairs too.
    """

    channels: tuple[int, ...]
    size: tuple[int, ...]
    step_size: tuple[int, ...]
    pairs: int
    steps: int

    def network(self, placement: str) -> PUUNet:
        """Return the network with product units in a placement, the same weights elsewhere."""
        torch.manual_seed(0)
        volume = len(self.size) == 5
        return PUUNet(len(self.size) - 2, self.size[1], 3 if volume else 1, self.channels, placement=placement)


_2D, _3D = (32, 64, 128, 256, 512), (16, 32, 64, 128, 256)
SETTINGS = {
    "2D, 256x256": Setting(_2D, (1, 3, 256, 256), (2, 3, 256, 256), 31, 15),
    "2D, 352x352": Setting(_2D, (1, 3, 352, 352), (2, 3, 352, 352), 31, 9),
    "3D, 128x128x128": Setting(_3D, (1, 4, 128, 128, 128), (1, 4, 128, 128, 128), 31, 3),
}
QUICK = {"2D, 48x48": Setting((8, 16, 32), (1, 3, 48, 48), (2, 3, 48, 48), 3, 2)}


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help="a small network and few rounds, to try the program")
    parser.add_argument("--output", type=Path, default=Path("output/bench"), help="folder")
    args = parser.parse_args(argv)

    torch.set_num_threads(1)
    precisions = ["float32"] + ["bfloat16"] * cpu_is_fast_in_bfloat16()
    found = {}
    with generous_malloc():
        for name, setting in tqdm((QUICK if args.quick else SETTINGS).items(), desc="settings", disable=None):
            found[name] = {precision: _measure(setting, precision) for precision in precisions}
    results = {"machine": machine(), "settings": found, "goals": _goals(found)}
    write_results(results, _text(results), args.output / "pu_against_baseline")
    print(_text(results))
    return 0


def _measure(setting: Setting, precision: str) -> dict[str, Any]:
    runtime, latency = _latency(setting, precision)
    step = alternate_here(
        {name: _training_step(setting, placement, precision) for name, placement in PLACEMENTS.items()}, setting.steps
    )
    return {
        "runtime": runtime,
        "latency": {name: raw_times(latency[name]) for name in PLACEMENTS},
        "latency_ratio": ratio_of_cpu(latency["PU-UNet"], latency["baseline"]),
        "step_size": setting.step_size,
        "step": {name: raw_times(step[name]) for name in PLACEMENTS},
        "step_ratio": ratio_of_cpu(step["PU-UNet"], step["baseline"]),
        "step_bytes": {
            placement: dry_run(
                setting.network(placement), setting.step_size, dtype=getattr(torch, precision), backward=True
            ).peak_bytes
            for placement in ("none", "low_resolution", "all")
        },
    }


def _latency(setting: Setting, precision: str) -> tuple[str, Any]:
    """Return the runtime in which the baseline is fastest, and the times in it."""
    image = torch.randn(setting.size, generator=torch.Generator().manual_seed(0))

    def of_runtime(runtime: str, placement: str) -> Callable[[], Any]:
        network = AcceleratedNetwork(setting.network(placement).eval(), runtime, precision, image)
        return functools.partial(_forward, network, image)

    tried = alternate_here({runtime: of_runtime(runtime, "none") for runtime in RUNTIMES}, 2)
    runtime = min(RUNTIMES, key=lambda runtime: min(tried[runtime]["cpu"]))
    return runtime, alternate_here(
        {name: of_runtime(runtime, placement) for name, placement in PLACEMENTS.items()}, setting.pairs
    )


@torch.no_grad()
def _forward(network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    return network(image)


def _training_step(setting: Setting, placement: str, precision: str) -> Callable[[], None]:
    network = setting.network(placement)
    lay_channels_last(network)
    image = torch.randn(setting.step_size, generator=torch.Generator().manual_seed(0))
    return functools.partial(_step, network, image, precision)


def _step(network: torch.nn.Module, image: torch.Tensor, precision: str) -> None:
    network.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        logits = network(image)
    logits.float().sigmoid().mean().backward()


def _goals(found: Mapping[str, Any]) -> list[Goal]:
    """Compare with the goals, each of which all sizes have to meet."""
    precisions = list(next(iter(found.values())))
    goals: list[Goal] = []
    for what, key, limits in (
        ("latency", "latency_ratio", LATENCY_GOALS),
        ("training step", "step_ratio", dict.fromkeys(LATENCY_GOALS, STEP_GOAL)),
    ):
        for precision in precisions:
            ratios = {name: by_precision[precision][key] for name, by_precision in found.items()}
            runtimes = {by_precision[precision]["runtime"] for by_precision in found.values()}
            goals.append(
                {
                    "what": f"{what} PU / baseline, CPU, {precision}",
                    "goal": f"at most {limits[precision]:.2f}",
                    "measured": "; ".join(f"{name}: {ratio_text(ratio)}" for name, ratio in ratios.items()),
                    "met": all(ratio["median"] <= limits[precision] for ratio in ratios.values()),
                    "note": ", ".join(sorted(runtimes)) if key == "latency_ratio" else "",
                }
            )
    for placement in ("low_resolution", "all"):
        ratios = {
            f"{name}, {precision}": of["step_bytes"][placement] / of["step_bytes"]["none"]
            for name, by_precision in found.items()
            for precision, of in by_precision.items()
        }
        goals.append(
            {
                "what": f"training bytes PU / baseline, {placement}",
                "goal": "at most 1.000",
                "measured": f"{min(ratios.values()):.5f} to {max(ratios.values()):.5f}",
                "met": all(round(ratio, 3) <= BYTES_GOAL for ratio in ratios.values()),
                "note": "counted, at the sizes and in the precisions of the rows above",
            }
        )
    return goals


def _text(results: Mapping[str, Any]) -> str:
    rows = []
    for name, by_precision in results["settings"].items():
        for precision, of in by_precision.items():
            times = [f"{median_ms(of[kind][side]):,.0f}" for kind in ("latency", "step") for side in PLACEMENTS]
            megabytes = [f"{of['step_bytes'][placement] / 1e6:,.1f}" for placement in ("none", "low_resolution", "all")]
            latency, step = (ratio_text(of[f"{kind}_ratio"]) for kind in ("latency", "step"))
            rows.append(
                [name, precision, of["runtime"], *times[:2], latency, _shape(of["step_size"]), *times[2:], step]
                + megabytes
            )
    columns = ["network", "precision", "runtime", "baseline, ms", "PU-UNet, ms", "ratio", "step of", "baseline, ms"]
    columns += ["PU-UNet, ms", "ratio", "step's bytes, MB: baseline", "PU-UNet", "PU-UNet, all"]
    rounds = statistics.median(len(of["latency"]["baseline"]["cpu_seconds"]) for of in _all(results))
    return (
        f"PU-UNet (low_resolution) against the matched Residual U-Net, {setting_text(results['machine'], int(rounds))} "
        f"(steps: fewer); CPU time, ratios with 95 % intervals over pairs.\n\n{markdown_table(columns, rows)}\n\n"
        f"{goals_text(results['goals'])}"
    )


def _all(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [of for by_precision in results["settings"].values() for of in by_precision.values()]


def _shape(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


if __name__ == "__main__":
    sys.exit(main())
