"""A synthetic dataset in the layout of a real one, for tests and for trying things out without any data.

    python -m data_prep.phantom --output phantom --layout kvasir --number 200 --size 96

The module of the real dataset then reads it. One image in ten has no lesion.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from data_prep import cli
from data_prep.new_folder import new_folder
from data_prep.phantom_scene import COLON, SKIN, ULTRASOUND, paint
from pu_unet_monai.errors import UserError

__all__ = ["LAYOUTS", "main", "make"]

Files = dict[str, Image.Image]
"""Images by their paths inside the dataset."""

EMPTY_SHARE = 0.1
MALIGNANT_SHARE = 0.3
SEVERAL_EVERY = 12
"""In the BUSI layout, every so many images with a lesion have two, each with its own mask."""
SMALLEST = 32


def make(output: Path, layout: str = "kvasir", number: int = 200, size: int = 96, seed: int = 42) -> None:
    """Make a synthetic dataset.

    Args:
        output: folder to make; it must not exist, or be empty.
        layout: ``kvasir``, ``busi``, ``isic2018``, or ``isic2017``, of whose ten images one validates and one tests.
        number: number of images.
        size: side of the square images in pixels.
        seed: the same arguments and seed give the same files.

    Raises:
        UserError: if the folder is not empty or an argument is out of range; nothing is written then.
    """
    if number < 1:
        raise UserError(f"--number {number}: expected at least 1 image")
    if size < SMALLEST:
        raise UserError(f"--size {size}: expected at least {SMALLEST} pixels")
    with new_folder(output) as folder:
        for files in tqdm(LAYOUTS[layout](number, size, seed), total=number, desc="painting", unit="image"):
            _save(files, folder)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = cli.new_parser("phantom", "Make a synthetic dataset in the layout of a real one.")
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="kvasir", help="(default kvasir)")
    parser.add_argument("--number", type=int, default=200, help="number of images (default 200)")
    parser.add_argument("--size", type=int, default=96, help="side of the images in pixels (default 96)")
    return cli.run(_make, parser, argv)


def _make(args: argparse.Namespace) -> None:
    make(args.output, args.layout, args.number, args.size, args.seed)
    print(f"wrote {args.number} synthetic images to {args.output}")
    source, datalist = shlex.quote(str(args.output)), shlex.quote(f"{args.output}.json")
    print(f"next:\n  python -m data_prep.{args.layout} --source {source} --output {datalist}")


def _kvasir(number: int, size: int, seed: int) -> Iterator[Files]:
    for index, lesions in enumerate(_lesion_counts(number, seed)):
        picture, masks = paint(_rng(seed, index), size, COLON, lesions)
        name = f"phantom{index + 1:05d}.jpg"
        yield {f"images/{name}": Image.fromarray(picture), f"masks/{name}": _mask(masks, size)}


def _isic2018(number: int, size: int, seed: int) -> Iterator[Files]:
    for index, lesions in enumerate(_lesion_counts(number, seed)):
        picture, masks = paint(_rng(seed, index), size, SKIN, lesions)
        name = f"ISIC_{index + 1:07d}"
        yield {
            f"ISIC2018_Task1-2_Training_Input/{name}.jpg": Image.fromarray(picture),
            f"ISIC2018_Task1_Training_GroundTruth/{name}_segmentation.png": _mask(masks, size),
        }


def _isic2017(number: int, size: int, seed: int) -> Iterator[Files]:
    for index, lesions in enumerate(_lesion_counts(number, seed)):
        picture, masks = paint(_rng(seed, index), size, SKIN, lesions)
        name = f"ISIC_{index + 1:07d}"
        part = {1: "Validation", 2: "Test_v2"}.get(index % 10, "Training")
        yield {
            f"ISIC-2017_{part}_Data/{name}.jpg": Image.fromarray(picture),
            f"ISIC-2017_{part}_Part1_GroundTruth/{name}_segmentation.png": _mask(masks, size),
        }


def _busi(number: int, size: int, seed: int) -> Iterator[Files]:
    counted = {"benign": 0, "malignant": 0, "normal": 0}
    for index, lesions in enumerate(_lesion_counts(number, seed)):
        rng = _rng(seed, index)
        malignant = rng.random() < MALIGNANT_SHARE
        kind = "normal" if lesions == 0 else "malignant" if malignant else "benign"
        several = lesions > 0 and (counted["benign"] + counted["malignant"]) % SEVERAL_EVERY == 1
        counted[kind] += 1
        picture, masks = paint(rng, size, ULTRASOUND, 2 if several else lesions, 0.25 if malignant else 0.08)
        stem = f"{kind}/{kind} ({counted[kind]})"
        files = {f"{stem}.png": Image.fromarray(picture)}
        for extra, mask in enumerate(masks or [np.zeros((size, size), dtype=bool)]):
            files[f"{stem}_mask{f'_{extra}' if extra else ''}.png"] = _mask([mask], size).convert("1")
        yield files


LAYOUTS: dict[str, Callable[[int, int, int], Iterator[Files]]] = {
    "busi": _busi,
    "isic2017": _isic2017,
    "isic2018": _isic2018,
    "kvasir": _kvasir,
}
"""Generators of the images of each layout, given number, size and seed."""


def _lesion_counts(number: int, seed: int) -> list[int]:
    counts = np.ones(number, dtype=int)
    counts[: round(EMPTY_SHARE * number)] = 0
    return [int(count) for count in np.random.default_rng(seed).permutation(counts)]


def _rng(seed: int, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, index])


def _mask(masks: Sequence[NDArray[np.bool_]], size: int) -> Image.Image:
    merged = np.any([np.zeros((size, size), dtype=bool), *masks], axis=0)
    return Image.fromarray(255 * merged.astype(np.uint8))


def _save(files: Files, folder: Path) -> None:
    for name, image in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".jpg":
            image.save(path, quality=92)
        else:
            image.save(path)


if __name__ == "__main__":
    sys.exit(main())
