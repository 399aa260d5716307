"""From the file of a brain MRI to what a network gets: MONAI's usual transforms against the bundle's, same values.

    OMP_NUM_THREADS=1 python -m benchmarks.loading [--image CASE.nii.gz]

Three sides, alternately, in one process: MONAI's ``LoadImaged`` to ``NormalizeIntensityd``; the preprocessing of the
bundle's ``inference.json``, which checks the file and the brain besides; and the same item from the cache of
``ReproducibleDataset``, copied as a training copies it before it augments it. Without an image, a synthetic head.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.transforms import (
    Compose,
    CropForegroundd,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    RandFlipd,
    Spacingd,
)

from benchmarks.measure import Times, alternate_here, ratio
from data_prep import volume_phantom
from pu_unet_monai.data import ReproducibleDataset
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.files import make_folder
from pu_unet_monai.runtime.machine import machine
from pu_unet_monai.transforms import nonzero

_SIZE = (240, 240, 155)
_MONAI, _OURS, _CACHED = "MONAI's transforms", "the bundle's preprocessing", "the same from the cache"
_GOALS = {
    _OURS: ("load and preprocess one 4-channel case, against MONAI's chain", 3),
    _CACHED: ("load and preprocess one 4-channel case from the cache, against MONAI's chain", 10),
}


def monai_chain() -> Compose:
    """Return the transforms that model-zoo bundles prepare brain MRI with."""
    return Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="LPS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            Spacingd("image", pixdim=(1.0, 1.0, 1.0), mode="bilinear"),
            CropForegroundd("image", source_key="image", select_fn=nonzero),
            NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        ]
    )


def bundle_chain(bundle: Path) -> Compose:
    """Return the preprocessing of a bundle's ``inference.json``."""
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    return parser.get_parsed_content("preprocessing")


def cached(chain: Compose, image: Path) -> ReproducibleDataset:
    """Return a dataset of one cached item; a random transform that changes nothing makes it copy the item."""
    transform = Compose([*chain.transforms, RandFlipd("image", prob=0.0)])
    return ReproducibleDataset([{"image": str(image)}], transform)


def compare(item: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, bool]:
    """Tell whether two items have the same voxels (bit for bit, but for the sign of 0), foreground box and affine."""
    ends = ("foreground_start_coord", "foreground_end_coord")
    return {
        "voxels": item["image"].dtype == other["image"].dtype
        and torch.equal(item["image"].as_tensor(), other["image"].as_tensor()),
        "box": all((item[end] == other[end]).all() for end in ends),
        "affine": torch.equal(item["image"].affine, other["image"].affine),
    }


def measure(bundle: Path, image: Path, rounds: int) -> dict[str, Any]:
    """Measure the three sides on one case.

    Raises:
        RuntimeError: if they do not give the same.
    """
    item = {"image": str(image)}
    theirs, ours = monai_chain(), bundle_chain(bundle)
    dataset = cached(ours, image)
    sides: dict[str, Callable[[], Any]] = {
        _MONAI: functools.partial(theirs, item),
        _OURS: functools.partial(ours, item),
        _CACHED: functools.partial(dataset.__getitem__, 0),
    }
    expected = sides[_MONAI]()
    identical = {name: compare(expected, sides[name]()) for name in (_OURS, _CACHED)}
    if not all(same for found in identical.values() for same in found.values()):
        raise RuntimeError(f"{image}: not the values of MONAI's transforms: {identical}")
    times = alternate_here(sides, rounds)
    return {
        "case": image.name,
        "box": list(expected["image"].shape),
        "machine": machine(),
        "rounds": rounds,
        "identical": identical,
        "sides": {name: {key: [round(t, 4) for t in values] for key, values in times[name].items()} for name in sides},
        "goals": [_goal(times, name) for name in _GOALS],
    }


def _goal(times: Times, name: str) -> dict[str, Any]:
    what, goal = _GOALS[name]
    found = ratio(times[_MONAI]["cpu"], times[name]["cpu"])
    return {
        "what": what,
        "goal": f"at least {goal}x",
        "measured": f"{found.median:.1f}x ({found.low:.1f} to {found.high:.1f})",
        "met": found.low >= goal,
        "note": "CPU time, median of the pairs with its 95 % interval, which must lie above; identical values",
    }


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--bundle", type=Path, default=Path("bundles/pu_unet_brats"))
    parser.add_argument("--image", type=Path, help="a 4D NIfTI file; by default a synthetic head is made")
    parser.add_argument("--size", type=int, nargs=3, default=_SIZE, help="of the synthetic head")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path("output/bench"), help="folder of loading.json and .md")
    args = parser.parse_args(argv)

    with tempfile.TemporaryDirectory() as folder:
        image = args.image or _synthetic_head(Path(folder) / "phantom", args.size)
        results = measure(args.bundle, image, args.rounds)
    make_folder(args.output)
    write_results(results, _text(results), args.output / "loading")
    print(_text(results))
    return 0


def _synthetic_head(folder: Path, size: list[int]) -> Path:
    volume_phantom.make(folder, "decathlon", number=1, shape=size)
    return next((folder / "imagesTr").glob("*.nii.gz"))


def _text(results: dict[str, Any]) -> str:
    about = results["machine"]
    rows = [
        [name, *(f"{statistics.median(side[key]):.3f}" for key in ("wall", "cpu"))]
        for name, side in results["sides"].items()
    ]
    goals = [
        [goal["what"], goal["goal"], goal["measured"], "yes" if goal["met"] else "no"] for goal in results["goals"]
    ]
    return (
        f"{results['case']}, foreground {'x'.join(map(str, results['box']))}, identical values, median of "
        f"{results['rounds']} alternating rounds, {about['threads']} thread(s), {about['processor']}, torch "
        f"{about['torch']}, MONAI {about['monai']}.\n\n{markdown_table(['side', 'wall s', 'CPU s'], rows)}\n\n"
        f"{markdown_table(['what', 'goal', 'measured, CPU time', 'met'], goals)}"
    )


if __name__ == "__main__":
    sys.exit(main())
