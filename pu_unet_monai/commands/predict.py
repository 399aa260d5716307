"""Segment a folder of images with a trained bundle."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.utils import convert_to_numpy
from PIL import Image
from tqdm import tqdm

from pu_unet_monai import __version__
from pu_unet_monai.data.datalist import is_image, list_images
from pu_unet_monai.errors import UserError, find_user_error, first_cause, join_some
from pu_unet_monai.evaluation.pictures import NOTICE, overlay
from pu_unet_monai.files import atomic_path, make_folder
from pu_unet_monai.images import read_rgb
from pu_unet_monai.runtime.bundle import TrainedBundle
from pu_unet_monai.transforms import SaveMask

__all__ = ["add_arguments", "run"]

_INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended, by the shells' convention."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--bundle", type=Path, required=True, help="folder of a bundle with weights")
    parser.add_argument("--input", type=Path, required=True, help="an image, or a folder of images")
    parser.add_argument("--output", type=Path, required=True, help="folder for masks, overlays and report.json")
    parser.add_argument("--device", help="such as cpu or cuda:0; by default a GPU if there is one")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override a key of inference.json, as the training did: image_size=128, ckpt_dir=..., may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Segment all images and write ``<stem>.png``, ``<stem>_overlay.png`` and ``report.json``.

    An image that fails does not stop the others.

    Args:
        args: the parsed options.

    Returns:
        The exit code: 0 if all images were segmented, 1 if some failed, 130 after Ctrl-C.

    Raises:
        UserError: if nothing can be done at all.
    """
    images = _find_images(args.input)
    if args.output.resolve() in {image.parent.resolve() for image in images}:
        raise UserError(f"--output {args.output}: holds the images themselves; choose another folder.")
    bundle = TrainedBundle(args.bundle, _overrides(args))
    make_folder(args.output)
    save = SaveMask(args.output)
    done, failed = [], []
    interrupted = False
    for image in tqdm(images, desc="segmenting", unit="image", disable=None):
        try:
            done.append(_segment(bundle, image, save))
        except KeyboardInterrupt:
            interrupted = True
            break
        except Exception as error:
            reason = str(find_user_error(error) or first_cause(error)).splitlines()[0]
            failed.append({"image": image.name, "error": reason})
    skipped = _skipped(args.input, images)
    _write_report(args.output, bundle, {"cases": done, "failed": failed, "skipped": skipped})
    if skipped:
        print(f"skipped, as no images by their names: {join_some(skipped)}")
    for failure in failed:
        print(f"failed: {failure['image']}: {failure['error']}")
    print(f"{len(done)} of {len(images)} images segmented: {args.output}")
    print(NOTICE)
    if interrupted:
        print("interrupted")
        return _INTERRUPTED
    return 1 if failed else 0


def _skipped(path: Path, images: list[Path]) -> list[str]:
    return sorted({entry.name for entry in path.iterdir()} - {image.name for image in images}) if path.is_dir() else []


def _find_images(path: Path) -> list[Path]:
    if path.is_file():
        if not is_image(path):
            raise UserError(f"--input {path}: not an image; expected a PNG or JPEG file, or a folder of them.")
        return [path]
    return [Path(item["image"]) for item in list_images(path)]


def _overrides(args: argparse.Namespace) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for setting in args.set:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting}: expected KEY=VALUE, such as image_size=128.")
        try:
            overrides[key] = json.loads(value)
        except ValueError:
            overrides[key] = value
    if args.device:
        try:
            overrides["device"] = torch.zeros(1, device=args.device).device
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"--device {args.device}: not usable here ({str(error).splitlines()[0]}).") from error
    return overrides


def _segment(bundle: TrainedBundle, image: Path, save: SaveMask) -> dict[str, Any]:
    started = time.perf_counter()
    prediction = bundle.predict(image)
    seconds = time.perf_counter() - started
    save(prediction)
    mask = convert_to_numpy(prediction).T > 0
    with atomic_path(save.output_dir / f"{image.stem}_overlay.png") as path:
        Image.fromarray(overlay(np.asarray(read_rgb(image)), mask)).save(path)
    return {
        "case": image.stem,
        "image": image.name,
        "mask": f"{image.stem}.png",
        "overlay": f"{image.stem}_overlay.png",
        "width": mask.shape[1],
        "height": mask.shape[0],
        "foreground_share": round(float(mask.mean()), 6),
        "seconds": round(seconds, 4),
    }


def _write_report(output: Path, bundle: TrainedBundle, outcome: dict[str, list]) -> None:
    report = {
        "notice": NOTICE,
        "bundle": bundle.folder.resolve().name,
        "bundle_version": bundle.metadata.get("version"),
        "package_version": __version__,
        "torch_version": torch.__version__,
        "weights_sha256": hashlib.sha256(bundle.weights_file.read_bytes()).hexdigest(),
        "device": str(bundle.device),
        **outcome,
    }
    with atomic_path(output / "report.json") as path:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
