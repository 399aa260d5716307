"""What the ISIC challenges have in common: the names of their files, and what counts as the same lesion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from data_prep.cases import Case
from data_prep.duplicates import Thresholds
from data_prep.pairs import check_pairs, pair_by_stem
from data_prep.splits import Split

__all__ = ["SAME_SCENE", "find_cases", "official_split"]

SAME_SCENE = Thresholds(coarse=0.8, fine=0.66)
"""Chosen on the training part of ISIC 2018; its module says how."""


def find_cases(images: Path, masks: Path) -> tuple[list[Case], list[str]]:
    """Pair ``<id>.jpg`` with ``<id>_segmentation.png``; superpixels and tables beside the images are no images.

    The challenge's pages also spell it ``_Segmentation``.

    Args:
        images: folder of one part's images.
        masks: folder of its masks.

    Returns:
        As :func:`data_prep.pairs.pair_by_stem`.
    """
    return pair_by_stem(images, masks, [".jpg"], [".png"], endings=["_segmentation", "_Segmentation"])


def official_split(folders: Mapping[str, tuple[Path, Path]]) -> Split:
    """Return the split as published, with every file checked.

    Args:
        folders: images and masks of each split.

    Raises:
        UserError: naming all bad files of all splits.
    """
    found = {name: find_cases(*pair) for name, pair in folders.items()}
    split = {name: cases for name, (cases, _) in found.items()}
    problems = [problem for _, part_problems in found.values() for problem in part_problems]
    check_pairs([case for cases in split.values() for case in cases], problems)
    return split
