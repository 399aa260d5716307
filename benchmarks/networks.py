"""The PU-UNet beside its baseline and MONAI's networks: size, multiply-adds, latency, and what a training step takes.

    OMP_NUM_THREADS=1 python -m benchmarks.networks

Eight networks in 2D (colour images) and in 3D (four modalities), in alternating turns: one item through the network
in float32, and in bfloat16 on a CPU that is good at it; one training step of one item with AdamW, in the precision
that the bundles train in here. All have their weights channels last, and all that take widths have the same ones at
every resolution; equal widths are not equal size: one network has two convolutions a resolution, another six, MONAI's
UNet computes nothing at full resolution but its last layers, and SegResNet ends a resolution earlier (its default). The
transformer has its own widths, MONAI's default. As in ``predict``, memory comes in huge pages and is kept for the next
pass: for all alike, since otherwise much of the time is the system's, which zeroes pages.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from monai.networks.nets.basic_unet import BasicUNet
from torch import nn

from benchmarks.measure import alternate_here
from benchmarks.reporting import median_ms, ratio_of_cpu, raw_times, setting_text
from pu_unet_monai.evaluation.complexity import count_macs, count_parameters, count_training_bytes
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.files import atomic_path
from pu_unet_monai.inferers import CPUBFloat16Inferer
from pu_unet_monai.losses import BCEFocalTverskyLoss
from pu_unet_monai.networks import create_network
from pu_unet_monai.runtime.machine import machine
from pu_unet_monai.runtime.malloc import generous_malloc
from pu_unet_monai.runtime.memory import format_bytes
from pu_unet_monai.runtime.precision import cpu_is_fast_in_bfloat16, training_dtype

CPU = torch.device("cpu")
MEMORY_FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}


class Setting(NamedTuple):
    """What all networks of one table share."""

    in_channels: int
    out_channels: int
    size: tuple[int, ...]
    widths: tuple[int, ...]
    swin_width: int
    rounds: int


FULL = {
    "2D": Setting(3, 1, (256, 256), (32, 64, 128, 256, 512), swin_width=24, rounds=7),
    "3D": Setting(4, 3, (96, 96, 96), (16, 32, 64, 128, 256), swin_width=24, rounds=3),
}
QUICK = {
    "2D": Setting(3, 1, (64, 64), (8, 8, 16, 16, 16), swin_width=12, rounds=2),
    "3D": Setting(4, 3, (64, 32, 32), (8, 8, 16, 16, 16), swin_width=12, rounds=1),
}
"""Sizes that the transformer takes, too small to tell anything."""


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the results and a picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help="tiny networks and images: a trial of the benchmark")
    parser.add_argument("--tables", nargs="+", choices=list(FULL), default=list(FULL))
    parser.add_argument("--rounds", type=int, help="default 7 in 2D and 3 in 3D")
    parser.add_argument("--output", type=Path, default=Path("output/bench"), help="folder")
    args = parser.parse_args(argv)

    settings = {name: (QUICK if args.quick else FULL)[name] for name in args.tables}
    if args.rounds:
        settings = {name: setting._replace(rounds=args.rounds) for name, setting in settings.items()}
    results = {
        "machine": machine(),
        "memory_format": "channels_last",
        "rounds": {name: setting.rounds for name, setting in settings.items()},
        "tables": {name: _measure(setting) for name, setting in settings.items()},
        "goals": [],
    }
    write_results(results, _text(results), args.output / "networks")
    draw(results, args.output / "networks.png")
    print(_text(results))
    return 0


def build(setting: Setting) -> dict[str, nn.Module]:
    """Create the networks by the names that the tables give them, weights channels last."""
    dims, widths = len(setting.size), setting.widths
    make = functools.partial(
        create_network, spatial_dims=dims, in_channels=setting.in_channels, out_channels=setting.out_channels
    )
    torch.manual_seed(0)
    networks = {
        "PU-UNet": make("pu_unet", channels=widths),
        "Residual U-Net": make("residual_unet", channels=widths),
        "UNet": make("unet", channels=widths, num_res_units=2),
        "BasicUNet": BasicUNet(dims, setting.in_channels, setting.out_channels, features=(*widths, widths[0])),
        "SegResNet": make("segresnet", init_filters=widths[0]),
        "DynUNet": make("dynunet", channels=widths),
        "AttentionUnet": make("attention_unet", channels=widths),
        "SwinUNETR": make("swin_unetr", feature_size=setting.swin_width),
    }
    return {name: network.to(memory_format=MEMORY_FORMATS[dims]) for name, network in networks.items()}  # type: ignore[call-overload]


def _measure(setting: Setting) -> dict[str, Any]:
    """Return what every network costs in one setting."""
    networks = build(setting)
    shape = (1, setting.in_channels, *setting.size)
    found: dict[str, Any] = {
        name: {
            "parameters": count_parameters(network),
            "macs": count_macs(network, shape),
            "training_bytes": count_training_bytes(network.train(), shape, CPU, amp=True),
        }
        for name, network in networks.items()
    }
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    modes = ["float32"] + ["bfloat16"] * cpu_is_fast_in_bfloat16() + ["training"]
    for mode in modes:
        sides = {name: _side(network, image, mode, setting.out_channels) for name, network in networks.items()}
        with generous_malloc():
            times = alternate_here(sides, setting.rounds)
        first, *_ = sides
        for name in sides:
            found[name][mode] = raw_times(times[name]) | {"over_first": ratio_of_cpu(times[name], times[first])}
    return setting._asdict() | {
        "training_precision": str(training_dtype(CPU, amp=True)).removeprefix("torch."),
        "networks": found,
    }


def _side(network: nn.Module, image: torch.Tensor, mode: str, out_channels: int) -> Any:
    if mode != "training":
        return functools.partial(_predict, network.eval(), image, mode)
    target = (torch.rand(1, out_channels, *image.shape[2:], generator=torch.Generator().manual_seed(1)) > 0.9).float()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    return functools.partial(_train, network.train(), optimizer, BCEFocalTverskyLoss(), image, target)


@torch.no_grad()
def _predict(network: nn.Module, image: torch.Tensor, precision: str) -> torch.Tensor:
    return CPUBFloat16Inferer(enabled=precision == "bfloat16")(image, network)


def _train(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: nn.Module,
    image: torch.Tensor,
    target: torch.Tensor,
) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss(CPUBFloat16Inferer()(image, network), target).backward()
    optimizer.step()


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Draw latency against multiply-adds, a panel a table.

    Args:
        results: as ``main`` writes them.
        path: the picture to write.
    """
    tables = results["tables"]
    figure = Figure(figsize=(6.2 * len(tables), 4.8), layout="constrained")
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    for axes, (name, table) in zip(panels, tables.items(), strict=True):
        _draw_table(axes, table)
        size, widths = "x".join(map(str, table["size"])), ", ".join(map(str, table["widths"]))
        axes.set_title(f"{name}: {table['in_channels']} channels, {size}, widths {widths}", fontsize=9)
    about = results["machine"]
    figure.supxlabel(
        f"{about['threads']} thread(s) of {about['processor']}, weights channels last; beside each name its parameters",
        fontsize=8,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


_HIGHLIGHT, _OTHERS = "#0072B2", "#777777"  # two that colour-blind readers tell apart


def _draw_table(axes: Axes, table: Mapping[str, Any]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("multiply-adds of one item (G)")
    axes.set_ylabel("CPU time of one item (ms)")
    axes.grid(color="#eeeeee")
    axes.set_axisbelow(True)
    points = {}
    for name, side in table["networks"].items():
        colour = _HIGHLIGHT if name == "PU-UNet" else _OTHERS
        macs, slow = side["macs"] / 1e9, median_ms(side["float32"])
        above = 4 if name == "PU-UNet" else 3
        axes.plot(macs, slow, "o", color=colour, zorder=above)
        if "bfloat16" in side:
            fast = median_ms(side["bfloat16"])
            axes.plot([macs, macs], [slow, fast], color=colour, linewidth=0.8)
            axes.plot(macs, fast, "o", color=colour, markerfacecolor="white", zorder=above)
        points[f"{name} ({side['parameters'] / 1e6:.1f} M)"] = (macs, slow, colour)
    axes.plot([], [], "o", color="black", label="float32")
    axes.plot([], [], "o", color="black", markerfacecolor="white", label="bfloat16")
    axes.legend(loc="lower right", fontsize=8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.margins(x=0.75, y=0.12)
    _label(axes, points)


def _label(axes: Axes, points: Mapping[str, tuple[float, float, str]]) -> None:
    """Write names beside their points, to the left of the leftmost half, moved apart where they would overlap."""
    axes.autoscale_view()
    by_x = sorted(points, key=lambda name: points[name][0])
    for names, sign in ((by_x[: len(by_x) // 2], -1), (by_x[len(by_x) // 2 :], 1)):
        heights = [axes.transAxes.inverted().transform(axes.transData.transform(points[n][:2]))[1] for n in names]
        order = sorted(range(len(names)), key=heights.__getitem__)
        for below, above in itertools.pairwise(order):
            heights[above] = max(heights[above], heights[below] + 0.05)
        for name, height in zip(names, heights, strict=True):
            macs, slow, colour = points[name]
            x = axes.transAxes.inverted().transform(axes.transData.transform((macs, slow)))[0]
            axes.annotate(
                name,
                (macs, slow),
                (x + sign * 0.03, height),
                textcoords="axes fraction",
                ha="left" if sign > 0 else "right",
                va="center",
                color=colour,
                fontsize=8,
                zorder=2.5,  # over the lines, under the points
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkB": 3},
            )


def _text(results: Mapping[str, Any]) -> str:
    parts = []
    for name, table in results["tables"].items():
        modes = [mode for mode in ("float32", "bfloat16", "training") if mode in table["networks"]["PU-UNet"]]
        rows = [
            [
                network,
                f"{side['parameters']:,}",
                f"{side['macs'] / 1e9:.2f}",
                *(f"{median_ms(side[mode]):.0f}" for mode in modes),
                *(f"{side[mode]['over_first']['median']:.2f}" for mode in modes),
                format_bytes(side["training_bytes"]),
            ]
            for network, side in table["networks"].items()
        ]
        columns = ["network", "parameters", "multiply-adds (G)", *(f"CPU ms, {mode}" for mode in modes)]
        columns += [*(f"times the PU-UNet's, {mode}" for mode in modes), "bytes of a training step"]
        size = "x".join(map(str, table["size"]))
        parts += [
            f"{name}: one item of {table['in_channels']} channels, {size}, {table['out_channels']} output channel(s), "
            f"widths {', '.join(map(str, table['widths']))} (SwinUNETR {table['swin_width']}, SegResNet up to "
            f"{8 * table['widths'][0]}); training step in {table['training_precision']} with AdamW; weights channels "
            f"last; {setting_text(results['machine'], table['rounds'])}. Equal widths are not equal size.",
            markdown_table(columns, rows),
        ]
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
