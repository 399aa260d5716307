"""Splits that keep groups together and classes balanced."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from data_prep.cases import Case
from pu_unet_monai.errors import UserError

__all__ = ["Split", "fold_splits", "holdout_split"]

Split = dict[str, list[Case]]
"""Cases by the name of their split: training, validation, test."""

PARTS = 10
MINIMUM = 3


def holdout_split(cases: Sequence[Case], seed: int) -> Split:
    """Split 80/10/10: one tenth for test, one for validation, the rest for training.

    With fewer than ten groups there are as many parts as groups, so that no split stays empty.

    Args:
        cases: cases to split, in a fixed order.
        seed: the same cases and seed give the same split.

    Raises:
        UserError: if there are fewer than three groups.
    """
    groups = _group_names(cases)
    number = len(set(groups))
    if number < MINIMUM:
        raise UserError(
            f"{len(cases)} case(s) in {number} group(s) are too few: training, validation and test need at least "
            f"{MINIMUM} groups; add cases"
        )
    parts = _parts(cases, groups, min(PARTS, number), seed)
    sizes = np.bincount(parts)
    if sizes.max() > 2 * sizes.min():  # large groups: they train, and the smallest parts test and validate
        parts = np.argsort(np.argsort(sizes, kind="stable"))[parts]
    return _take(cases, parts, 0, min(PARTS, number))


def fold_splits(cases: Sequence[Case], number: int, seed: int) -> list[Split]:
    """Split for cross-validation: part k is the test set of fold k, part k + 1 its validation set.

    Every case is tested exactly once.

    Args:
        cases: cases to split, in a fixed order.
        number: number of folds, at least 3.
        seed: the same cases and seed give the same folds.

    Raises:
        UserError: if there are fewer than three folds, or fewer groups than folds.
    """
    groups = _group_names(cases)
    if number < MINIMUM:
        raise UserError(f"--folds {number}: expected at least {MINIMUM} (training, validation and test)")
    if len(set(groups)) < number:
        raise UserError(
            f"--folds {number}: {len(cases)} case(s) in {len(set(groups))} group(s) are too few; "
            "ask for as many folds as there are groups at most, or add cases"
        )
    parts = _parts(cases, groups, number, seed)
    return [_take(cases, parts, fold, number) for fold in range(number)]


def _group_names(cases: Sequence[Case]) -> list[str]:
    return [f"group {case.group}" if case.group else f"image {case.image.as_posix()}" for case in cases]


def _parts(cases: Sequence[Case], groups: Sequence[str], number: int, seed: int) -> NDArray[np.int64]:
    """Return the part, 0 to number - 1, of every case."""
    kinds = np.array([case.kind or "" for case in cases])
    if np.unique(kinds, return_counts=True)[1].max() < number:
        kinds[:] = ""  # too few of every class to be spread over the parts
    parts = np.empty(len(cases), dtype=np.int64)
    folds = StratifiedGroupKFold(n_splits=number, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        for part, (_, members) in enumerate(folds.split(np.zeros(len(cases)), kinds, groups)):
            parts[members] = part
    return parts


def _take(cases: Sequence[Case], parts: NDArray[np.int64], fold: int, number: int) -> Split:
    split: Split = {"training": [], "validation": [], "test": []}
    names = {fold: "test", (fold + 1) % number: "validation"}
    for case, part in zip(cases, parts, strict=True):
        split[names.get(int(part), "training")].append(case)
    return split
