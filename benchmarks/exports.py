"""A bundle's network as PyTorch runs it against its exports, on the same image.

    python -m pu_unet_monai export --bundle BUNDLE --output EXPORTS
    OMP_NUM_THREADS=1 taskset -c 0 python -m benchmarks.exports --bundle BUNDLE --exports EXPORTS --size 352 352

Six sides, alternately, each in a process of its own: PyTorch, TorchScript, ONNX Runtime and OpenVINO in float32, and
PyTorch and OpenVINO in bfloat16 (what ``predict`` and OpenVINO choose by themselves on a CPU that is good at it). The
network alone is measured, on one image of random numbers; its logits are compared with those of the network in
contiguous memory, as ``export`` does. ``taskset`` keeps all to one core: ONNX Runtime and OpenVINO
do not follow ``OMP_NUM_THREADS``.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import alternate, ratio
from benchmarks.run_as import run_as_pytorch
from pu_unet_monai.config_keys import parse_settings
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.inferers import CPUBFloat16Inferer
from pu_unet_monai.runtime.bundle import TrainedBundle
from pu_unet_monai.runtime.formats import FORMATS
from pu_unet_monai.runtime.machine import machine
from pu_unet_monai.runtime.openvino_network import run_openvino

Run = Callable[[torch.Tensor], torch.Tensor]


def eager(bundle: Path, settings: tuple[str, ...], size: tuple[int, ...], amp: bool) -> torch.Tensor:
    """Run the bundle's network as ``predict`` does on a CPU."""
    run_as_pytorch()
    trained = _trained(bundle, settings)
    with torch.no_grad():
        return CPUBFloat16Inferer(enabled=amp)(_image(trained.in_channels, size), trained.network)


def exported(load: Callable[[Path], Run], path: Path, channels: int, size: tuple[int, ...]) -> torch.Tensor:
    """Run an export."""
    run_as_pytorch()
    with torch.no_grad():
        return _loaded(load, path)(_image(channels, size))


def openvino_bfloat16(path: Path) -> Run:
    """Load an OpenVINO network in the precision that it chooses by itself here; a name of its own, to be cached by."""
    return run_openvino(path, "bfloat16")


@functools.cache
def _image(channels: int, size: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(0))


@functools.cache
def _trained(bundle: Path, settings: tuple[str, ...]) -> TrainedBundle:
    return TrainedBundle(bundle, parse_settings(settings) | {"device": torch.device("cpu")})


@functools.cache
def _loaded(load: Callable[[Path], Run], path: Path) -> Run:
    return load(path)


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--exports", type=Path, required=True, help="the folder that the export command wrote")
    parser.add_argument("--size", type=int, nargs="+", required=True, help="of the image, in pixels or voxels")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="as for the export")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="default benchmarks/results/exports_<bundle>")
    args = parser.parse_args(argv)

    size, settings = tuple(args.size), tuple(args.set)
    bundle = _trained(args.bundle, settings)

    def export(name: str, load: Callable[[Path], Run] | None = None) -> Callable[[], torch.Tensor]:
        path = args.exports / f"{bundle.name}{FORMATS[name].suffixes[0]}"
        return functools.partial(exported, load or FORMATS[name].load, path, bundle.in_channels, size)

    sides: dict[str, Callable[[], torch.Tensor]] = {
        "PyTorch, float32": functools.partial(eager, args.bundle, settings, size, amp=False),
        "TorchScript, float32": export("torchscript"),
        "ONNX Runtime, float32": export("onnx"),
        "OpenVINO, float32": export("openvino"),
        "PyTorch, bfloat16": functools.partial(eager, args.bundle, settings, size, amp=True),
        "OpenVINO, bfloat16": export("openvino", openvino_bfloat16),
    }
    times, found = alternate(sides, args.rounds)
    first, *_ = sides
    reference = _contiguous_logits(bundle, size)
    largest = reference.abs().max().item()
    results = {
        "bundle": bundle.name,
        "settings": settings,
        "shape": [1, bundle.in_channels, *size],
        "machine": machine() | {"cores_used": len(os.sched_getaffinity(0))},
        "versions": {name: importlib.metadata.version(name) for name in ("onnxruntime", "openvino")},
        "rounds": args.rounds,
        "sides": {
            name: {
                "wall_seconds": [round(t, 4) for t in times[name]["wall"]],
                "cpu_seconds": [round(t, 4) for t in times[name]["cpu"]],
                "times_less_cpu": round(ratio(times[first]["cpu"], times[name]["cpu"]).median, 2),
                "difference": (found[name] - reference).abs().max().item() / largest,
            }
            for name in sides
        },
    }
    write_results(results, _text(results), args.output or Path("benchmarks/results") / f"exports_{bundle.name}")
    print(_text(results))
    return 0


@torch.no_grad()
def _contiguous_logits(bundle: TrainedBundle, size: tuple[int, ...]) -> torch.Tensor:
    """Return the logits that ``export`` compares with."""
    bundle.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return bundle.network(_image(bundle.in_channels, size))


def _text(results: dict[str, Any]) -> str:
    rows = []
    for name, side in results["sides"].items():
        wall, cpu = (statistics.median(side[key]) for key in ("wall_seconds", "cpu_seconds"))
        rows.append([name, f"{wall:.3f}", f"{cpu:.3f}", f"{side['times_less_cpu']:.2f}", f"{side['difference']:.1e}"])
    columns = ["side", "wall s", "CPU s", "times less CPU", "largest difference of logits, relative"]
    about, versions = results["machine"], results["versions"]
    return (
        f"{results['bundle']}, {' '.join(results['settings']) or 'standard settings'}, one image of shape "
        f"{results['shape']}, median of {results['rounds']} alternating rounds, {about['cores_used']} core(s) of "
        f"{about['processor']} (AMX {about['amx']}, AVX512-BF16 {about['avx512_bf16']}), torch {about['torch']}, "
        f"onnxruntime {versions['onnxruntime']}, openvino {versions['openvino']}.\n\n{markdown_table(columns, rows)}"
    )


if __name__ == "__main__":
    sys.exit(main())
