"""The results as Markdown: a table a part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.gpu.conditions import Row
from pu_unet_monai.evaluation.tables import markdown_table

__all__ = ["report"]

Cell = Callable[[Any], str]


def report(results: Mapping[str, Any]) -> str:
    """Lay out the results of :mod:`benchmarks.gpu`."""
    about = results["machine"]
    where = (
        f"{about['gpu']}, {about['gpu_memory_gib']} GiB, driver {about['driver']}, CUDA {about['cuda']}, cuDNN "
        f"{about['cudnn']}"
        if results["device"] != "cpu"
        else f"Dry run on the CPU ({about['processor']}): the times tell nothing about a GPU"
    )
    head = (
        f"{where}; torch {about['torch']}, MONAI {about['monai']}, Python {about['python']}. float32 is without TF32. "
        "PU-UNet and its baseline have the bundles' widths, all networks their weights channels last. "
        f"{results['took_seconds']:.0f} s in all. Compiler: {results['compiler']}. Times are medians of alternating "
        "rounds, ratios those of the pairs with their 95 % interval."
    )
    parts = [head]
    for name, (title, columns) in _TABLES.items():
        part = results["parts"].get(name)
        if part is None:
            continue
        rows = [[*(_cell(row, key, show) for key, show in columns.values()), _problem(row)] for row in part["rows"]]
        table = markdown_table([*columns, "remark"], rows)
        remark = f"\n\n{part['remark']}" if "remark" in part else ""
        parts.append(f"## {title}\n\n{table}{remark}")
    if results["goals"]:
        rows = [[g["what"], g["goal"], g["measured"], _met(g["met"]), g["note"]] for g in results["goals"]]
        parts.append(f"## Goals\n\n{markdown_table(['goal', 'aimed at', 'measured', 'met', 'note'], rows)}")
    return "\n\n".join(parts)


def _cell(row: Row, key: str, show: Cell) -> str:
    return "" if row.get(key) is None else show(row[key])


def _problem(row: Row) -> str:
    problem = f"failed: {row['error']}" if "error" in row else row.get("skipped", "")
    return " ".join(str(problem).replace("|", "/").split())


def _met(met: bool | None) -> str:
    return {True: "yes", False: "**no**", None: ""}[met]


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3f}"


def _mebibytes(number: float) -> str:
    return f"{number / 2**20:.1f}"


def _small(number: float) -> str:
    return f"{number:.1e}"


def _ratio(found: Mapping[str, float]) -> str:
    return f"{found['median']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _pair(medians: Mapping[str, float]) -> str:
    """Show times in milliseconds and, as no time takes so long, bytes in MiB."""
    shown = [_mebibytes(number) + " MiB" if number > 2**16 else _milliseconds(number) for number in medians.values()]
    return " / ".join(shown)


def _tenth(number: float) -> str:
    return f"{number:.1f}"


def _thousands(number: int) -> str:
    return f"{number:,}"


def _giga(number: int) -> str:
    return f"{number / 1e9:.1f}"


def _dice(number: float) -> str:
    return f"{number:.4f}"


Columns = dict[str, tuple[str, Cell]]
_WORK: Columns = {"images": ("workload", str)}
_PRECISION: Columns = {"precision": ("precision", str)}
_TABLES: dict[str, tuple[str, Columns]] = {
    "numerics": (
        "Numerics: largest difference, relative to the largest number",
        {
            "what": ("what", str),
            **_PRECISION,
            "against": ("against", str),
            "difference": ("difference", _small),
            "at most": ("at_most", _small),
            "met": ("met", _met),
        },
    ),
    "baseline": (
        "PU-UNet against its baseline",
        {
            "what": ("what", str),
            **_WORK,
            **_PRECISION,
            "run": ("mode", str),
            "PU-UNet / baseline, ms": ("medians", _pair),
            "ratio": ("ratio", _ratio),
        },
    ),
    "runtimes": (
        "Runtimes of PU-UNet against eager float32",
        {
            **_WORK,
            "run": ("way", str),
            **_PRECISION,
            "ms": ("median", _milliseconds),
            "times faster": ("times_faster", _ratio),
            "difference of logits, relative": ("difference", _small),
        },
    ),
    "networks": (
        "Networks side by side: latency of one item, training step of a batch",
        {
            **_WORK,
            "network": ("network", str),
            **_PRECISION,
            "parameters": ("parameters", _thousands),
            "multiply-adds, G": ("macs", _giga),
            "latency, ms": ("latency_median", _milliseconds),
            "step, ms": ("step_median", _milliseconds),
            "bytes of a step, MiB": ("step_bytes", _mebibytes),
        },
    ),
    "volume": (
        "A whole brain of four modalities",
        {
            "voxels": ("size", str),
            "run": ("way", str),
            **_PRECISION,
            "weights": ("weights", str),
            "ms": ("median", _milliseconds),
            "times faster": ("times_faster", _ratio),
            "peak, MiB": ("peak_bytes", _mebibytes),
            "Dice with the same in float32": ("dice_with_float32", _dice),
        },
    ),
    "throughput": (
        "Training throughput of PU-UNet, eager",
        {
            **_WORK,
            **_PRECISION,
            "weights": ("layout", str),
            "steps": ("steps", str),
            "items/s": ("items_per_second", _tenth),
        },
    ),
}
