"""Time and memory of one forward pass against the size of a volume and of a batch: PU-UNet and its baseline.

    OMP_NUM_THREADS=1 python -m benchmarks.scaling

The 3D networks (widths 16 to 256, four modalities) on cubes, the 2D ones (widths 32 to 512, colour images of 256
pixels) on batches, in float32, and in bfloat16 on a CPU that is good at it; weights channels last, pages as large as in
``predict``. Every point has a fresh process, once a round, in turn: its first pass gives the memory, its second the
time. The memory is the peak of what the process holds, with the interpreter, the imported libraries, and what malloc
keeps; beside it stands what ``dry_run`` counts without running the network. Processes come from a server that has
imported the libraries.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from tqdm import tqdm

from benchmarks.reporting import median_ms, ratio_of_cpu, setting_text
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.files import atomic_path
from pu_unet_monai.inferers import CPUBFloat16Inferer
from pu_unet_monai.networks import create_network
from pu_unet_monai.runtime.dry_run import dry_run
from pu_unet_monai.runtime.machine import machine
from pu_unet_monai.runtime.memory import format_bytes, peak_resident_bytes, resident_bytes
from pu_unet_monai.runtime.precision import cpu_is_fast_in_bfloat16

NETWORKS = {"PU-UNet": "pu_unet", "Residual U-Net": "residual_unet"}
WIDTHS = {2: (32, 64, 128, 256, 512), 3: (16, 32, 64, 128, 256)}
IMAGE_SIZE = (256, 256)
SERIES = {"3D": "voxels of the volume", "2D": "batch size, images of 256x256 pixels"}


class Point(NamedTuple):
    """One network on one input, in one precision."""

    network: str
    precision: str
    input_size: tuple[int, ...]


class Pass(NamedTuple):
    """What a fresh process measured."""

    wall: float
    """Seconds of the second pass."""
    cpu: float
    before: int
    """Bytes that the process held with the network and the image, before the first pass."""
    peak: int
    """Most bytes that it held in the first pass."""


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the results and two pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--cubes", type=int, nargs="+", default=[48, 64, 96, 128, 144], help="edges, in voxels")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("output/bench"), help="folder")
    args = parser.parse_args(argv)

    inputs: list[tuple[int, ...]] = [(1, 4, edge, edge, edge) for edge in args.cubes]
    inputs += [(batch, 3, *IMAGE_SIZE) for batch in args.batches]
    precisions = ["float32"] + ["bfloat16"] * cpu_is_fast_in_bfloat16()
    points = [
        Point(network, precision, size)
        for size in inputs
        for precision, network in itertools.product(precisions, NETWORKS)
    ]
    passes = _measure(points, args.rounds)
    results = {
        "machine": machine(),
        "memory_format": "channels_last",
        "rounds": args.rounds,
        "widths": WIDTHS,
        "points": [_summary(point, passes[point]) for point in points],
        "ratios": [_compare(precision, size, passes) for size in inputs for precision in precisions],
        "goals": [],
    }
    write_results(results, _text(results), args.output / "scaling")
    draw_time(results, args.output / "scaling_time.png")
    draw_memory(results, args.output / "scaling_memory.png")
    print(_text(results))
    return 0


def _measure(points: Sequence[Point], rounds: int) -> dict[Point, list[Pass]]:
    """Run every point once a round, each in a fresh process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.reporting", "matplotlib.figure", "pu_unet_monai.inferers"])
    passes: dict[Point, list[Pass]] = {point: [] for point in points}
    for _ in tqdm(range(rounds), desc="rounds", disable=None):
        for point in points:
            with ProcessPoolExecutor(1, mp_context=context) as process:
                passes[point].append(process.submit(run, point).result())
    return passes


@torch.no_grad()
def run(point: Point) -> Pass:
    """Run a network twice, and tell what it took: for a process of its own."""
    network, image = _network(point), torch.randn(point.input_size)
    inferer = CPUBFloat16Inferer(enabled=point.precision == "bfloat16")
    before = resident_bytes()
    inferer(image, network)
    peak = peak_resident_bytes()
    wall, cpu = time.perf_counter(), time.process_time()
    inferer(image, network)
    return Pass(time.perf_counter() - wall, time.process_time() - cpu, before, peak)


def _network(point: Point) -> torch.nn.Module:
    dims = len(point.input_size) - 2
    network = create_network(NETWORKS[point.network], dims, point.input_size[1], 1, channels=WIDTHS[dims])
    layout = torch.channels_last if dims == 2 else torch.channels_last_3d
    return network.eval().to(memory_format=layout)  # type: ignore[call-overload]


def _summary(point: Point, passes: Sequence[Pass]) -> dict[str, Any]:
    return {
        **point._asdict(),
        "series": _series(point.input_size),
        "length": _length(point.input_size),
        "wall_seconds": [round(found.wall, 6) for found in passes],
        "cpu_seconds": [round(found.cpu, 6) for found in passes],
        "resident_bytes_before": [found.before for found in passes],
        "peak_resident_bytes": [found.peak for found in passes],
        "counted_bytes": _count(point),
    }


def _count(point: Point) -> int:
    dtype = getattr(torch, point.precision)
    return dry_run(_network(point), point.input_size, "cpu", dtype, workspace=True).peak_bytes


def _series(input_size: Sequence[int]) -> str:
    return f"{len(input_size) - 2}D"


def _length(input_size: Sequence[int]) -> int:
    """Return what a series is drawn against: the voxels of a volume, or the batch of images."""
    return math.prod(input_size[2:]) if len(input_size) == 5 else input_size[0]


def _compare(precision: str, size: tuple[int, ...], passes: Mapping[Point, Sequence[Pass]]) -> dict[str, Any]:
    """Return the PU-UNet's CPU time over the baseline's."""
    first, second = ({"cpu": [found.cpu for found in passes[Point(name, precision, size)]]} for name in NETWORKS)
    return {"precision": precision, "input_size": size, **ratio_of_cpu(first, second)}


_COLOURS = {"PU-UNet": "#0072B2", "Residual U-Net": "#D55E00"}  # which colour-blind readers tell apart
_MARKERS = {"PU-UNet": "o", "Residual U-Net": "s"}
_STYLES = {"float32": "-", "bfloat16": "--"}
_FILLS = {"float32": "full", "bfloat16": "none"}


def draw_time(results: Mapping[str, Any], path: Path) -> None:
    """Draw the CPU time of a pass against the size of its input.

    Args:
        results: as ``main`` writes them.
        path: the picture to write.
    """
    _draw(results, path, "CPU time of one pass (s)", _draw_time)


def draw_memory(results: Mapping[str, Any], path: Path) -> None:
    """Draw the peak of a process against the size of its input, and what was to be expected as lines.

    Args:
        results: as ``main`` writes them.
        path: the picture to write.
    """
    _draw(results, path, "peak resident memory of the process (GB)", _draw_memory)


def _draw_time(axes: Axes, network: str, precision: str, points: Sequence[Mapping[str, Any]]) -> None:
    lengths = [point["length"] for point in points]
    seconds = [median_ms(point) / 1000 for point in points]
    axes.set(xscale="log", yscale="log")
    axes.plot(lengths, seconds, _STYLES[precision], color=_COLOURS[network], linewidth=1)
    _mark(axes, network, precision, lengths, seconds)
    _label_end(axes, network, precision, seconds[-1])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")


def _draw_memory(axes: Axes, network: str, precision: str, points: Sequence[Mapping[str, Any]]) -> None:
    lengths = [point["length"] for point in points]
    expected = [(statistics.median(point["resident_bytes_before"]) + point["counted_bytes"]) / 1e9 for point in points]
    found = [statistics.median(point["peak_resident_bytes"]) / 1e9 for point in points]
    axes.plot(lengths, expected, _STYLES[precision], color=_COLOURS[network], linewidth=1)
    _mark(axes, network, precision, lengths, found)
    _label_end(axes, network, precision, found[-1])


def _mark(axes: Axes, network: str, precision: str, lengths: Sequence[int], heights: Sequence[float]) -> None:
    colour, fill = _COLOURS[network], _FILLS[precision]
    axes.plot(lengths, heights, _MARKERS[network], color=colour, fillstyle=fill, markersize=5)  # type: ignore[arg-type]


def _label_end(axes: Axes, network: str, precision: str, height: float) -> None:
    """Name the precision of a curve at its end; the two networks lie too close for names of their own."""
    if network == next(iter(NETWORKS)):
        axes.annotate(
            precision, (1, height), (4, 0), ("axes fraction", "data"), "offset points", va="center", fontsize=8
        )


def _draw(results: Mapping[str, Any], path: Path, quantity: str, draw_curve: Callable[..., None]) -> None:
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    for axes, (series, label) in zip(figure.subplots(1, 2), SERIES.items(), strict=True):
        curves: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for point in results["points"]:
            if point["series"] == series:
                curves.setdefault((point["network"], point["precision"]), []).append(point)
        for (network, precision), points in curves.items():
            draw_curve(axes, network, precision, points)
        sizes = {point["length"]: point["input_size"] for points in curves.values() for point in points}
        axes.set_xticks(list(sizes), [f"{size[2]}³" if series == "3D" else str(size[0]) for size in sizes.values()])
        axes.tick_params(axis="x", labelsize=7)
        axes.minorticks_off()
        if axes.get_yscale() == "linear":
            axes.set_ylim(bottom=0)
        axes.grid(color="#eeeeee")
        axes.set_axisbelow(True)
        axes.set(xlabel=label, ylabel=quantity, title=f"{series}, widths {_widths_text(series)}")
    for network in NETWORKS:
        axes.plot([], [], _MARKERS[network], color=_COLOURS[network], label=network, markersize=5)
    axes.legend(loc="upper left", fontsize=8)
    about = results["machine"]
    note = f"{about['threads']} thread(s) of {about['processor']}, weights channels last; {_CAPTIONS[draw_curve]}"
    figure.supxlabel(note, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


_CAPTIONS = {
    _draw_time: "medians of fresh processes",
    _draw_memory: "marks: measured, lines: the process before the pass and what dry_run counts",
}


def _widths_text(series: str) -> str:
    widths = WIDTHS[int(series[0])]
    return f"{widths[0]} to {widths[-1]}"


def _text(results: Mapping[str, Any]) -> str:
    parts = [
        f"One forward pass, {setting_text(results['machine'], results['rounds'])}, each in a fresh process, weights "
        "channels last. Peak: what the process held at most, with libraries; counted: what dry_run says the pass "
        "adds, with the workspace of convolutions."
    ]
    for series in SERIES:
        rows = [_row(point) for point in results["points"] if point["series"] == series]
        parts += [f"{series}, widths {_widths_text(series)}:", markdown_table(_COLUMNS, rows)]
    rows = [
        [_size_text(ratio["input_size"]), ratio["precision"], f"{ratio['median']:.3f}"] for ratio in results["ratios"]
    ]
    parts += [
        "CPU time of the PU-UNet / that of the Residual U-Net:",
        markdown_table(["input", "precision", "ratio"], rows),
    ]
    return "\n\n".join(parts)


_COLUMNS = ["input", "network", "precision", "CPU s", "ns per voxel or pixel", "peak", "grown by", "counted"]


def _row(point: Mapping[str, Any]) -> list[str]:
    seconds = median_ms(point) / 1000
    before, peak = (statistics.median(point[key]) for key in ("resident_bytes_before", "peak_resident_bytes"))
    return [
        _size_text(point["input_size"]),
        point["network"],
        point["precision"],
        f"{seconds:.3f}",
        f"{1e9 * seconds / (point['input_size'][0] * math.prod(point['input_size'][2:])):.0f}",
        *(format_bytes(size) for size in (peak, peak - before, point["counted_bytes"])),
    ]


def _size_text(input_size: Sequence[int]) -> str:
    return "x".join(map(str, input_size))


if __name__ == "__main__":
    sys.exit(main())
