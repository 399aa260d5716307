"""Checks of brain MRI cases; what the statistics need is kept from the same reading of each file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from monai.data import MetaTensor
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray
from tqdm import tqdm

from data_prep.cases import raise_if_any
from data_prep.volume_statistics import ORIENTATION, CaseFacts, bounding_box
from pu_unet_monai.data.label_numbering import CLASS_NAMES, NUMBERINGS
from pu_unet_monai.data.modalities import MODALITIES
from pu_unet_monai.data.volume_cases import VolumeCase
from pu_unet_monai.errors import UserError
from pu_unet_monai.volumes import grid_text, read_volume, same_grid

__all__ = ["check_cases"]

WORKERS = 4
"""Threads at most: each holds a whole case, about 0.3 GB."""
ENHANCING = (3, 4)
"""Of these values of the numbering ``brats`` a dataset has one: 4 before BraTS 2023, 3 since."""


def check_cases(
    cases: Sequence[VolumeCase],
    label_numbering: str,
    channel_order: Sequence[int] | None = None,
    problems: Sequence[str] = (),
) -> list[CaseFacts]:
    """Read every image and label and check that channels, grids and values are as they must be.

    Args:
        cases: cases to check; each must have a label.
        label_numbering: what the values of the labels mean, ``brats`` or ``decathlon``.
        channel_order: which channel of a 4D file is FLAIR, T1w, T1gd, T2w; None means in this order.
        problems: what was found when the files were looked for; it is reported together with what is found here.

    Returns:
        The facts of each case, in the order of ``cases``.

    Raises:
        UserError: naming all that is wrong.
    """
    order = channel_order or range(len(MODALITIES))
    names = [MODALITIES[list(order).index(channel)] for channel in range(len(MODALITIES))]
    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool:
        checked = pool.map(lambda case: _check(case, names, label_numbering), cases)
        results = list(tqdm(checked, total=len(cases), desc="checking", unit="case"))
    problems = [*problems, *(problem for _, _, found in results for problem in found)]
    if label_numbering == "brats":
        problems += _mixed_numbering(cases, [values for _, values, _ in results])
    raise_if_any(problems, "bad file(s)", "Add, repair or remove them and run the command again; nothing was written.")
    return [facts for facts, _, _ in results if facts is not None]


def _check(
    case: VolumeCase, channels: Sequence[str], label_numbering: str
) -> tuple[CaseFacts | None, frozenset[int], list[str]]:
    """Return the facts of a case, the values of its label, and what is wrong; no facts if anything is."""
    if case.label is None:
        return None, frozenset(), [f"{case.images[0]}: case {case.name} has no label; add {case.name}_seg beside it"]
    volumes: list[MetaTensor] = []
    problems: list[str] = []
    for path in (*case.images, case.label):
        try:
            volumes.append(read_volume(path))
        except UserError as error:
            problems.append(str(error))
    if problems:
        return None, frozenset(), problems
    *images, label = volumes
    counts, problems = _count_values(case.label, label, label_numbering)
    problems += _wrong_grids(case, images, label) or _wrong_channels(case, images, channels)
    values = frozenset(counts)
    return (None if problems else _facts(case.name, images, label, counts, label_numbering)), values, problems


def _wrong_grids(case: VolumeCase, images: Sequence[MetaTensor], label: MetaTensor) -> list[str]:
    first = images[0]
    lengths = [len(image) for image in images]
    expected = [len(MODALITIES)] if len(images) == 1 else [1] * len(MODALITIES)
    problems = [
        f"{path}: {found} channel(s), expected {number} (a 4D file holds {', '.join(MODALITIES)}; four files one each)"
        for path, found, number in zip(case.images, lengths, expected, strict=True)
        if found != number
    ]
    if len(label) != 1:
        problems.append(f"{case.label}: {len(label)} channels, expected one label map")
    others = zip((*case.images[1:], case.label), (*images[1:], label), strict=True)
    problems += [
        f"{path}: {grid_text(volume)}, but {case.images[0].name} has {_other_grid(first, volume)}; "
        "resample it to that grid"
        for path, volume in others
        if not same_grid(first, volume)
    ]
    return problems


def _other_grid(first: MetaTensor, volume: MetaTensor) -> str:
    return "other axes" if grid_text(first) == grid_text(volume) else grid_text(first)


def _wrong_channels(case: VolumeCase, images: Sequence[MetaTensor], names: Sequence[str]) -> list[str]:
    """Name the modalities without signal."""
    if len(images) == 1:
        empty = [name for name, channel in zip(names, images[0].numpy(), strict=True) if not channel.any()]
        return [f"{case.images[0]}: {', '.join(empty)} is 0 everywhere; export it again"] if empty else []
    return [
        f"{path}: is 0 everywhere; export it again"
        for path, image in zip(case.images, images, strict=True)
        if not image.numpy().any()
    ]


def _count_values(path: Path, label: MetaTensor, label_numbering: str) -> tuple[dict[int, int], list[str]]:
    """Return how often each value occurs, without those that do not, and what is wrong with them."""
    values = label.numpy()
    known = {0}.union(*NUMBERINGS[label_numbering].values())
    with np.errstate(invalid="ignore"):
        small = values.astype(np.uint8)
    if np.array_equal(small, values):
        counts = {value: int(count) for value, count in enumerate(np.bincount(small.ravel())) if count}
        found: Sequence[float] = list(counts)
    else:
        counts = {}
        found = np.unique(values).tolist()
    if set(found) <= known:
        return counts, []
    shown = ", ".join(f"{value:g}" for value in found[:8]) + (", ..." if len(found) > 8 else "")
    expected = ", ".join(map(str, sorted(known)))
    return {}, [f"{path}: values {shown}, expected {expected} ({label_numbering} numbering); renumber the label"]


def _mixed_numbering(cases: Sequence[VolumeCase], values: Sequence[frozenset[int]]) -> list[str]:
    examples = [next((case for case, found in zip(cases, values, strict=True) if n in found), None) for n in ENHANCING]
    first, second = examples
    if first is None or second is None:
        return []
    return [
        f"{first.label}: holds the value {ENHANCING[0]}, but {second.label} {ENHANCING[1]}: both mean enhancing "
        "tumour, in different years of BraTS; renumber the labels of one kind, or prepare the two apart"
    ]


def _facts(
    name: str, images: Sequence[MetaTensor], label: MetaTensor, counts: dict[int, int], label_numbering: str
) -> CaseFacts:
    axes, flipped = _to_working_orientation(label)
    shape = np.array(label.shape[1:])
    start, end = map(np.array, bounding_box(_foreground(images)))
    start, end = np.where(flipped, shape - end, start), np.where(flipped, shape - start, end)
    numbers = {"background": (0,)} | NUMBERINGS[label_numbering]
    return CaseFacts(
        name=name,
        shape=tuple(shape[axes].tolist()),
        spacing=tuple(label.pixdim.numpy()[axes].tolist()),
        start=tuple(start[axes].tolist()),
        end=tuple(end[axes].tolist()),
        voxels={name: sum(counts.get(number, 0) for number in numbers[name]) for name in CLASS_NAMES},
    )


def _foreground(images: Sequence[MetaTensor]) -> NDArray[np.bool_]:
    """Return which voxels are non-zero in any modality, of shape (x, y, z)."""
    return np.any([np.any(image.numpy() != 0, axis=0) for image in images], axis=0)


def _to_working_orientation(volume: MetaTensor) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return which axis of the file is x, y and z of the working orientation, and which axes of the file it flips."""
    change = ornt_transform(io_orientation(np.asarray(volume.affine)), axcodes2ornt(tuple(ORIENTATION)))
    return np.argsort(change[:, 0]), change[:, 1] < 0
