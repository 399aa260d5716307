r"""Your own images and labels, 2D or 3D, in two folders: split 80/10/10 or into folds.

    python -m data_prep.folder --images DIR --labels DIR --output datalist.json [--group-by REGEX] [--folds 5]

A label has the name of its image, or that name with ``_mask``, ``_seg``, ``_segmentation``, ``_label`` or ``_gt``.
Images of one patient must not be spread over several splits: ``--group-by`` finds the patient in the image's name
(without its suffix). ``--group-by '^(P\d+)_'`` takes ``P012`` from ``P012_slice3.png``.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_prep import cli, datalist
from data_prep.cases import Case, count_groups, files_with_suffix, raise_if_any, require_folders
from data_prep.pairs import IMAGE_SUFFIXES, check_pairs, pair_by_stem, stem_of
from data_prep.splits import fold_splits, holdout_split
from data_prep.volumes import VOLUME_SUFFIXES, check_volumes
from pu_unet_monai.errors import UserError

__all__ = ["main", "prepare"]

ENDINGS = ("", "_mask", "_seg", "_segmentation", "_label", "_gt")


def prepare(
    images: Path, labels: Path, output: Path, group_by: str | None = None, folds: int | None = None, seed: int = 42
) -> None:
    """Check images and labels of any origin and write their datalist, or one for each fold.

    Args:
        images: folder of images.
        labels: folder of binary labels.
        output: datalist to write; fold k goes to ``<stem>_fold<k>.json`` beside it.
        group_by: regular expression that finds the patient in the stem of an image: its first group, or the whole
            match; None means that every image is on its own.
        folds: number of folds; None means one split 80/10/10.
        seed: seed of the split.

    Raises:
        UserError: if files are missing or bad or an option does not fit; nothing is written then.
    """
    outputs = [output.with_name(f"{output.stem}_fold{fold}{output.suffix}") for fold in range(folds or 0)] or [output]
    for path in outputs:
        datalist.check_output(path)
    require_folders(images, labels)
    images, labels = images.resolve(), labels.resolve()
    if images == labels:
        raise UserError(f"--labels {labels}: is the folder of the images as well; put the labels into one of their own")
    volumes = _are_volumes(images)
    suffixes = VOLUME_SUFFIXES if volumes else IMAGE_SUFFIXES
    cases, problems = pair_by_stem(images, labels, suffixes, suffixes, ENDINGS)
    (check_volumes if volumes else check_pairs)(cases, problems)
    cases = _grouped(cases, group_by)
    splits = [holdout_split(cases, seed)] if folds is None else fold_splits(cases, folds, seed)

    root = Path(os.path.commonpath([images, labels]))
    numbers = count_groups(cases) if group_by else {}
    dataset = _dataset(root, volumes, group_by, folds)
    for number, (path, split) in enumerate(zip(outputs, splits, strict=True)):
        how = datalist.HOLDOUT if folds is None else f"fold {number} of {folds}, groups kept together"
        datalist.write(path, root, dataset, split, seed, how, **numbers)
    print(datalist.summary(outputs, root, dataset, splits[0]))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = cli.new_parser("folder", "Write the datalist of your own images and labels.")
    parser.add_argument("--images", type=Path, required=True, help="folder of images, 2D or 3D; only read")
    parser.add_argument("--labels", type=Path, required=True, help="folder of binary labels; only read")
    parser.add_argument("--output", type=Path, required=True, help="datalist to write, a .json file")
    parser.add_argument("--group-by", metavar="REGEX", help="finds the patient in an image's name")
    parser.add_argument("--folds", type=int, help="write this many folds for cross-validation")
    return cli.run(_prepare, parser, argv)


def _prepare(args: argparse.Namespace) -> None:
    prepare(args.images, args.labels, args.output, args.group_by, args.folds, args.seed)


def _are_volumes(images: Path) -> bool:
    flat, volumes = files_with_suffix(images, IMAGE_SUFFIXES), files_with_suffix(images, VOLUME_SUFFIXES)
    if flat and volumes:
        raise UserError(
            f"{images}: {len(flat)} 2D and {len(volumes)} 3D images together, such as {flat[0].name} and "
            f"{volumes[0].name}; put them into separate folders"
        )
    if not flat and not volumes:
        raise UserError(f"{images}: no image found, expected {', '.join((*IMAGE_SUFFIXES, *VOLUME_SUFFIXES))}")
    return bool(volumes)


def _grouped(cases: Sequence[Case], group_by: str | None) -> list[Case]:
    if group_by is None:
        return list(cases)
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise UserError(f"--group-by {group_by!r}: not a regular expression ({error})") from error
    groups = [_group_of(case, pattern) for case in cases]
    problems = [str(case.image) for case, group in zip(cases, groups, strict=True) if not group]
    raise_if_any(
        problems, f"image(s) that --group-by {group_by!r} does not match", "Mend the expression or rename them."
    )
    return [replace(case, group=group) for case, group in zip(cases, groups, strict=True)]


def _group_of(case: Case, pattern: re.Pattern[str]) -> str | None:
    match = pattern.search(stem_of(case.image))
    return match and match[1 if pattern.groups else 0]


def _dataset(root: Path, volumes: bool, group_by: str | None, folds: int | None) -> datalist.Dataset:
    dataset = datalist.Dataset(
        name=root.name,
        description=f"{'3D' if volumes else '2D'} images with one binary label each",
        licence="not stated",
        command="python -m data_prep.folder",
        bundle=None if volumes else "pu_unet_kvasir",
    )
    grouping = ["--group-by", group_by] if group_by else []
    folding = ["--folds", str(folds)] if folds else []
    return datalist.with_options(dataset, [*grouping, *folding])


if __name__ == "__main__":
    sys.exit(main())
