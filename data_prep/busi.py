"""BUSI: 780 breast ultrasound images of three classes, some with several masks, split 80/10/10.

    python -m data_prep.busi --source Dataset_BUSI_with_GT --output busi.json [--without-normal]

Where an image has several masks, ``label`` is the list of them, to be merged when they are loaded.

Many images show the same lesion, with and without callipers, or are neighbouring frames; ten pairs of images and
more are filed under two classes (``benign (433)`` and ``malignant (145)`` are identical). They are grouped (see
``duplicates``), and a group stays in one split. All 93 pairs with a fine correlation between 0.29 and 0.80 were looked
at. From 0.31 up they show the same scene, but for one pair that only makes a group larger, and for six below 0.5
coarsely, half of them wrong; under 0.31 different scenes prevail. This finds 158 groups with 367 of the 780 images.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep import cli, datalist
from data_prep.cases import Case, count_groups, files_with_suffix, require_folders
from data_prep.duplicates import Thresholds, with_groups
from data_prep.pairs import check_pairs
from data_prep.splits import holdout_split

__all__ = ["main", "prepare"]

DATASET = datalist.Dataset(
    name="BUSI",
    description="Lesions in breast ultrasound images (benign, malignant, normal), one or several masks per image",
    licence="non-commercial research (sources disagree)",
    command="python -m data_prep.busi",
    bundle="pu_unet_busi",
)
SAME_SCENE = Thresholds(coarse=0.5, fine=0.31)
NAME = re.compile(r"(?P<image>\w+ \(\d+\))(?P<mask>_mask(_\d+)?)?")


def prepare(source: Path, output: Path, seed: int = 42, without_normal: bool = False) -> None:
    """Check BUSI, group its duplicates and write its datalist.

    Args:
        source: folder with ``benign``, ``malignant`` and ``normal``.
        output: datalist to write.
        seed: seed of the split.
        without_normal: whether to leave the images without lesion out.

    Raises:
        UserError: if files are missing or bad; nothing is written then.
    """
    datalist.check_output(output)
    kinds = ["benign", "malignant"] if without_normal else ["benign", "malignant", "normal"]
    require_folders(*(source / kind for kind in kinds))
    cases, problems = _find_cases(source, kinds)
    check_pairs(cases, problems)
    cases = with_groups(cases, SAME_SCENE)
    split = holdout_split(cases, seed)
    dataset = datalist.with_options(DATASET, ["--without-normal"] if without_normal else [])
    datalist.write(output, source, dataset, split, seed, datalist.HOLDOUT, **count_groups(cases))
    print(datalist.summary([output], source, dataset, split))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = cli.dataset_parser("busi", "Write the datalist of BUSI.")
    parser.add_argument("--without-normal", action="store_true", help="leave the images without lesion out")
    return cli.run(_prepare, parser, argv)


def _prepare(args: argparse.Namespace) -> None:
    prepare(args.source, args.output, args.seed, args.without_normal)


def _find_cases(source: Path, kinds: Sequence[str]) -> tuple[list[Case], list[str]]:
    cases: list[Case] = []
    problems: list[str] = []
    for kind in kinds:
        images, masks, others = _sort_files(source / kind)
        if not images:
            problems.append(f"{source / kind}: no image found, expected files like '{kind} (1).png'")
        problems += [f"{path}: expected a name like '{kind} (1).png' or '{kind} (1)_mask.png'" for path in others]
        problems += [
            f"{images[stem]}: no mask {name}" for stem in images for name in _missing(stem, masks.get(stem, []))
        ]
        problems += [f"{path}: no image for this mask" for stem in masks if stem not in images for path in masks[stem]]
        cases += [Case(path, tuple(masks.get(stem, [])), kind) for stem, path in images.items()]
    return cases, problems


def _missing(stem: str, masks: Sequence[Path]) -> list[str]:
    """Return the names that are missing in the row ``_mask``, ``_mask_1``, ``_mask_2``, of which the first must be."""
    expected = [f"{stem}_mask.png", *(f"{stem}_mask_{number}.png" for number in range(1, len(masks)))]
    return [name for name in expected if name not in {path.name for path in masks}]


def _sort_files(folder: Path) -> tuple[dict[str, Path], dict[str, list[Path]], list[Path]]:
    """Return the images in the order of their numbers, the masks of each, and files with another name."""
    images: dict[str, Path] = {}
    masks: dict[str, list[Path]] = {}
    others: list[Path] = []
    for path in files_with_suffix(folder, [".png"]):
        name = NAME.fullmatch(path.stem)
        if name is None:
            others.append(path)
        elif name["mask"]:
            masks.setdefault(name["image"], []).append(path)
        else:
            images[name["image"]] = path
    return dict(sorted(images.items(), key=lambda item: int(item[0].split("(")[1][:-1]))), masks, others


if __name__ == "__main__":
    sys.exit(main())
