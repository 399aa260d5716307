"""Synthetic brain MRI in the layout of a real dataset, for tests and for trying things out without any data.

    python -m data_prep.volume_phantom --output phantom --layout decathlon --number 8 --size 48

``python -m data_prep.brats`` then reads it. One tumour in four has no enhancing part.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from data_prep import cli
from data_prep.decathlon_layout import CONTENTS
from data_prep.new_folder import new_folder
from data_prep.volume_phantom_scene import EDEMA, ENHANCING, NON_ENHANCING, paint_head
from pu_unet_monai.data.modalities import MODALITIES
from pu_unet_monai.errors import UserError

__all__ = ["LAYOUTS", "main", "make"]

Heads = Iterable[tuple[str, NDArray[np.int16], NDArray[np.uint8]]]
"""Name, image (x, y, z, 4) and label map of each case."""

PROPORTIONS = (48, 56, 40)
SMALLEST = 16
SMALLEST_SIZE = 24
"""Of the longest side, so that the shortest has ``SMALLEST`` voxels."""
WITHOUT_ENHANCING = 0.25


def make(
    output: Path, layout: str = "decathlon", number: int = 8, shape: Sequence[int] = PROPORTIONS, seed: int = 42
) -> None:
    """Make a synthetic dataset of brain MRI.

    The same case has the same voxels in either layout.

    Args:
        output: folder to make; it must not exist, or be empty.
        layout: ``decathlon`` (4D files, ``dataset.json``), ``brats`` (four files and a label a case), or ``dicom`` (a
            study of four series a case, without labels).
        number: number of cases.
        shape: voxels along x, y and z, of 1 mm.
        seed: the same arguments and seed give the same files.

    Raises:
        UserError: if the folder is not empty or an argument is out of range; nothing is written then.
    """
    if number < 1:
        raise UserError(f"--number {number}: expected at least 1 case")
    if min(shape) < SMALLEST:
        raise UserError(f"{'x'.join(map(str, shape))} voxels: expected at least {SMALLEST} along each axis")
    with new_folder(output) as folder:
        LAYOUTS[layout](folder, tqdm(_heads(number, shape, seed), total=number, desc="painting", unit="case"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = cli.new_parser("volume_phantom", "Make synthetic brain MRI in the layout of a real dataset.")
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="decathlon", help="(default decathlon)")
    parser.add_argument("--number", type=int, default=8, help="number of cases (default 8)")
    parser.add_argument("--size", type=int, default=max(PROPORTIONS), help="longest side in voxels (default 56)")
    return cli.run(_make, parser, argv)


def _make(args: argparse.Namespace) -> None:
    if args.size < SMALLEST_SIZE:
        raise UserError(f"--size {args.size}: expected at least {SMALLEST_SIZE} voxels")
    shape = [round(args.size * side / max(PROPORTIONS)) for side in PROPORTIONS]
    make(args.output, args.layout, args.number, shape, args.seed)
    print(f"wrote {args.number} synthetic cases of {'x'.join(map(str, shape))} voxels to {args.output}")
    if args.layout == "dicom":
        bundle = "bundles/pu_unet_brats"
        source = shlex.quote(str(args.output))
        print(f"next:\n  python -m pu_unet_monai predict --bundle {bundle} --input {source} --output {source}_seg")
        return
    source, datalist = shlex.quote(str(args.output)), shlex.quote(f"{args.output}.json")
    print(f"next:\n  python -m data_prep.brats --source {source} --output {datalist}")


def _heads(number: int, shape: Sequence[int], seed: int) -> Iterator[tuple[str, NDArray[np.int16], NDArray[np.uint8]]]:
    enhancing = np.ones(number, dtype=bool)
    enhancing[: round(WITHOUT_ENHANCING * number)] = False
    for index, has_part in enumerate(np.random.default_rng(seed).permutation(enhancing)):
        image, label = paint_head(np.random.default_rng([seed, index]), shape, bool(has_part))
        yield f"phantom_{index + 1:03d}", image, label


def _decathlon(folder: Path, heads: Heads) -> None:
    numbers = {EDEMA: 1, NON_ENHANCING: 2, ENHANCING: 3}
    entries = []
    for name, image, label in heads:
        entry = {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
        _save(image, folder / entry["image"])
        _save(_renumber(label, numbers), folder / entry["label"])
        entries.append(entry)
    content = {
        "name": "synthetic brain MRI",
        "tensorImageSize": "4D",
        "modality": {str(index): name for index, name in enumerate(MODALITIES)},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "numTraining": len(entries),
        "numTest": 0,
        "training": entries,
        "test": [],
    }
    (folder / CONTENTS).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _brats(folder: Path, heads: Heads) -> None:
    numbers = {NON_ENHANCING: 1, EDEMA: 2, ENHANCING: 4}
    for name, image, label in heads:
        for channel, ending in enumerate(("flair", "t1", "t1ce", "t2")):
            _save(image[..., channel], folder / name / f"{name}_{ending}.nii.gz")
        _save(_renumber(label, numbers), folder / name / f"{name}_seg.nii.gz")


def _dicom(folder: Path, heads: Heads) -> None:
    try:
        from data_prep.dicom_layout import write_study
    except ImportError as error:
        raise UserError(f'--layout dicom: {error}; pip install "pydicom>=3"') from error
    for name, image, _ in heads:
        series = {text: image[..., channel] for channel, text in enumerate(("FLAIR", "T1", "T1 +C", "T2"))}
        write_study(folder / name, name, series, _affine(image))


LAYOUTS: dict[str, Callable[[Path, Heads], None]] = {"brats": _brats, "decathlon": _decathlon, "dicom": _dicom}
"""What writes the cases of each layout, given the folder and the cases."""


def _renumber(label: NDArray[np.uint8], numbers: Mapping[int, int]) -> NDArray[np.uint8]:
    return sum((np.uint8(number) * (label == part) for part, number in numbers.items()), np.zeros_like(label))


def _affine(values: NDArray) -> NDArray[np.float64]:
    """Return the geometry of BraTS files: axes LPS, 1 mm, origin (0, y - 1, 0)."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[1, 3] = values.shape[1] - 1
    return affine


def _save(values: NDArray[np.int16] | NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = _affine(values)
    image = nibabel.Nifti1Image(values, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


if __name__ == "__main__":
    sys.exit(main())
