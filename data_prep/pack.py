"""Pack a 2D dataset into one small file, to send it to another machine: its images and masks made smaller.

    python -m data_prep.pack --dataset-dir Kvasir-SEG --datalist kvasir.json --size 352 --output kvasir.zip
    unzip -d output/kvasir kvasir.zip          # a dataset folder, and its datalist.json, for any bundle

Images become JPEG, masks PNG (the union, where there are several), at most so many pixels a side, in their own
proportions, under their own names. "Native size" of scores on it is that of the pack. The pack holds the dataset's
images: its licence holds for it too, and it should not be published.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from monai.utils import ensure_tuple
from PIL import Image
from tqdm import tqdm

from data_prep import cli
from pu_unet_monai.data.datalist import load_datalist
from pu_unet_monai.errors import UserError
from pu_unet_monai.files import atomic_path
from pu_unet_monai.images import read_mask, read_rgb

__all__ = ["main", "pack"]

SECTIONS = ("training", "validation", "test")


def pack(dataset_dir: Path, datalist_file: Path, size: int, output: Path, quality: int = 90) -> None:
    """Write a zip with ``images/``, ``masks/`` and ``datalist.json``.

    Args:
        dataset_dir: folder of the dataset.
        datalist_file: its datalist.
        size: largest side of the images, in pixels; smaller ones stay as they are.
        output: the file to write, ``.zip``.
        quality: of the JPEG images, 1 to 95. Defaults to 90.

    Raises:
        UserError: if the datalist is no 2D dataset's, a file is missing or bad, or the name is not that of a zip.
    """
    if output.suffix != ".zip":
        raise UserError(f"--output {output}: expected the name of a .zip file.")
    sections = {name: load_datalist(datalist_file, dataset_dir, name) for name in SECTIONS}
    content = json.loads(datalist_file.read_text(encoding="utf-8"))
    content["packed"] = {"size": size, "quality": quality}
    entries = [(name, number) for name, found in sections.items() for number in range(len(found))]
    names: set[str] = set()
    with atomic_path(output) as path, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for section, number in tqdm(entries, desc="packing", disable=None):
            original, found = content[section][number], sections[section][number]
            stem = _unused(_stem(original, datalist_file), names)
            image = read_rgb(found["image"])
            image.thumbnail((size, size), Image.Resampling.LANCZOS)
            mask = _union(found["label"]).resize(image.size, Image.Resampling.NEAREST)
            original |= {"image": f"images/{stem}.jpg", "label": f"masks/{stem}.png"}
            archive.writestr(original["image"], _encoded(image, "jpeg", quality=quality))
            archive.writestr(original["label"], _encoded(mask, "png", optimize=True))
        archive.writestr("datalist.json", json.dumps(content, indent=2))
    print(f"{output}: {len(entries)} images, {output.stat().st_size / 1e6:.1f} MB; licence: {content.get('licence')}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = cli.new_parser("pack", "Pack a 2D dataset into one small file.", seeded=False)
    parser.add_argument("--dataset-dir", type=Path, required=True, help="folder of the dataset; only read")
    parser.add_argument("--datalist", type=Path, required=True, help="its datalist, as data_prep writes it")
    parser.add_argument("--size", type=int, default=352, help="largest side in pixels (default 352)")
    parser.add_argument("--quality", type=int, default=90, help="of the JPEG images (default 90)")
    parser.add_argument("--output", type=Path, required=True, help="file to write, a .zip")
    return cli.run(_pack, parser, argv)


def _pack(args: argparse.Namespace) -> None:
    if args.size < 1:
        raise UserError(f"--size {args.size}: expected at least 1 pixel")
    if not 1 <= args.quality <= 95:
        raise UserError(f"--quality {args.quality}: expected 1 to 95")
    pack(args.dataset_dir, args.datalist, args.size, args.output, args.quality)


def _stem(entry: dict[str, Any], datalist_file: Path) -> str:
    if not isinstance(entry["image"], str) or entry["image"].endswith((".nii", ".nii.gz")):
        raise UserError(f"{datalist_file}: {entry['image']} is no 2D image; only 2D datasets are packed.")
    return PurePosixPath(entry["image"]).stem


def _unused(stem: str, names: set[str]) -> str:
    """Return the name, with a number behind it if another folder of the dataset has it too."""
    name, number = stem, 1
    while name.lower() in names:
        number += 1
        name = f"{stem}_{number}"
    names.add(name.lower())
    return name


def _union(labels: str | list[str]) -> Image.Image:
    masks = [read_mask(path) for path in ensure_tuple(labels)]
    if len({mask.shape for mask in masks}) > 1:
        raise UserError(f"{labels[0]}: {len(masks)} masks of different sizes; mend them.")
    return Image.fromarray(np.any(masks, axis=0))


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


if __name__ == "__main__":
    sys.exit(main())
