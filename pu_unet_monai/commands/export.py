"""Export a bundle's trained network as TorchScript, ONNX and OpenVINO, each compared with PyTorch at several sizes."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from pu_unet_monai.commands.options import add_trust
from pu_unet_monai.config_keys import parse_settings
from pu_unet_monai.errors import UserError, first_cause
from pu_unet_monai.evaluation.pictures import NOTICE
from pu_unet_monai.files import make_folder, temporary_folder, write_json
from pu_unet_monai.runtime.bundle import TrainedBundle
from pu_unet_monai.runtime.comparison import Reference, difference, references
from pu_unet_monai.runtime.formats import AXES, FORMATS, INPUT, OUTPUT, Format, check_packages
from pu_unet_monai.runtime.provenance import provenance

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--bundle", type=Path, required=True, help="folder of a bundle with weights")
    add_trust(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder for the exported networks and export.json")
    parser.add_argument(
        "--format",
        nargs="+",
        type=lambda name: "torchscript" if name == "ts" else name,
        choices=list(FORMATS),
        default=list(FORMATS),
        help="one or more of torchscript (or ts), onnx, openvino; by default all",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        help="largest difference from PyTorch's logits, relative to the largest of them (default 1e-4)",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override a key of inference.json, as the training had it: channels=[16,32,64], ckpt_dir=...; may be "
        "repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Write the network in each format, compare it with the network itself, and write ``export.json``.

    A format that differs by more than the tolerance, or cannot be written or run, leaves no file under its name.

    Args:
        args: the parsed options.

    Returns:
        The exit code: 0 if all formats were exported, 1 if some were refused.

    Raises:
        UserError: if nothing can be done at all.
    """
    if not args.tolerance > 0:
        raise UserError(f"--tolerance {args.tolerance:g}: expected a number above 0, such as 1e-4.")
    formats = list(dict.fromkeys(args.format))
    check_packages(formats)
    settings = parse_settings(args.set)
    bundle = TrainedBundle(args.bundle, settings | {"device": torch.device("cpu")}, args.trust)
    # PyTorch's GroupNorm is 10 to 100 times less exact where channels are last
    bundle.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    make_folder(args.output)
    if not os.access(args.output, os.W_OK):
        raise UserError(f"--output {args.output}: cannot be written to; choose another folder.")
    expected = references(bundle.network, bundle.in_channels, bundle.spatial_dims)
    exported, refused = {}, {}
    with (
        temporary_folder(args.output, ".export-") as temporary,
        tqdm(total=len(formats) * (1 + len(expected)), desc="exporting", disable=None) as progress,
    ):
        for name in formats:
            files = [temporary / f"{bundle.name}{suffix}" for suffix in FORMATS[name].suffixes]
            entry, problem = _export(bundle, FORMATS[name], files[0], expected, progress)
            problem = problem or _too_far(entry["differences"], args.tolerance)
            if problem:
                refused[name] = {"reason": problem, **entry}
                for path in (*files, *(args.output / file.name for file in files)):  # the second: an earlier export's
                    path.unlink(missing_ok=True)
            else:
                exported[name] = {"bytes": {file.name: file.stat().st_size for file in files}, **entry}
        for entry in exported.values():  # not before the last, as OpenVINO's is made of ONNX's
            for name in reversed(entry["bytes"]):  # the one to load last
                os.replace(temporary / name, args.output / name)
    _write_report(args, bundle, {"formats": exported, "refused": refused})
    for name, entry in exported.items():
        print(_summary(name, entry))
    for name, entry in refused.items():
        print(f"refused: {name}: {entry['reason']}; no file of it was left")
    print(f"{len(exported)} of {len(formats)} formats exported: {args.output}")
    print(NOTICE)
    return 1 if refused else 0


def _export(
    bundle: TrainedBundle, form: Format, path: Path, expected: Sequence[Reference], progress: tqdm
) -> tuple[dict[str, Any], str | None]:
    """Write a network and run it at all shapes; return the seconds of writing, the differences, and any error."""
    entry: dict[str, Any] = {"seconds": None, "differences": []}
    started = time.perf_counter()
    try:
        form.write(bundle, path)
        entry["seconds"] = round(time.perf_counter() - started, 1)
        progress.update()
        run = form.load(path)
        for reference in expected:
            entry["differences"].append(difference(run, reference))
            progress.update()
    except Exception as error:
        return entry, first_cause(error)
    return entry, None


def _worst(differences: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return max(differences, key=lambda row: row["relative"])


def _too_far(differences: Sequence[dict[str, Any]], tolerance: float) -> str | None:
    worst = _worst(differences)
    if worst["relative"] <= tolerance:
        return None
    return (
        f"at {worst['shape']} its logits differ from PyTorch's by {worst['relative']:.1e} of the largest, more than "
        f"--tolerance {tolerance:g}"
    )


def _summary(name: str, entry: dict[str, Any]) -> str:
    worst = _worst(entry["differences"])
    return (
        f"{name}: {', '.join(entry['bytes'])}, {sum(entry['bytes'].values()) / 1e6:.1f} MB; logits differ from "
        f"PyTorch's by at most {worst['relative']:.1e} of the largest, at {len(entry['differences'])} shapes"
    )


def _write_report(args: argparse.Namespace, bundle: TrainedBundle, outcome: dict[str, Any]) -> None:
    axes = ["batch", "channel", *AXES[: bundle.spatial_dims]]
    made = provenance(bundle)
    needed = {package for name in outcome["formats"] for package in FORMATS[name].packages}
    made["versions"] |= {package: importlib.metadata.version(package) for package in sorted(needed)}
    report = {
        **made,
        "settings": parse_settings(args.set),
        "precision": "float32",
        "input": {"name": INPUT, "axes": axes, "content": bundle.metadata.get("image_classes")},
        "output": {"name": OUTPUT, "axes": axes, "content": bundle.metadata.get("pred_classes")},
        "left_out": "preprocessing and postprocessing of the bundle: the graph goes from preprocessed images to logits",
        "tolerance": args.tolerance,
        **outcome,
    }
    write_json(args.output / "export.json", report)
