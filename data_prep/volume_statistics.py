"""Statistics of a dataset of brain MRI: spacing, shape, foreground, frequency of the classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.datalist import Dataset
from pu_unet_monai import __version__
from pu_unet_monai.data.label_numbering import CLASS_NAMES, REGIONS, REGIONS_OF
from pu_unet_monai.errors import UserError, join_some
from pu_unet_monai.files import write_json
from pu_unet_monai.volumes import AFFINE_TOLERANCE

__all__ = ["ORIENTATION", "CaseFacts", "bounding_box", "check_output", "statistics", "statistics_file", "write"]

ORIENTATION = "LPS"
"""The networks' working orientation, that of BraTS files; axes and boxes of the statistics are given in it."""

_KEYS = {"orientation", "foreground_box", "classes"}


@dataclass(frozen=True)
class CaseFacts:
    """What is kept of one case.

    Args:
        name: name of the case.
        shape: voxels along x, y and z of the working orientation.
        spacing: size of a voxel along them in mm.
        start: first voxel along each axis that is non-zero in any modality.
        end: one past the last such voxel.
        voxels: number of voxels of each class, by name.
    """

    name: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    start: tuple[int, ...]
    end: tuple[int, ...]
    voxels: Mapping[str, int]


def bounding_box(mask: NDArray[np.bool_]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return first and one past last index along each axis of what is true, which must be something."""
    lines = [np.flatnonzero(mask.any(axis=tuple(set(range(mask.ndim)) - {axis}))) for axis in range(mask.ndim)]
    return tuple(int(line[0]) for line in lines), tuple(int(line[-1]) + 1 for line in lines)


def statistics(dataset: Dataset, split: Mapping[str, Sequence[CaseFacts]]) -> dict[str, Any]:
    """Sum a dataset up; all but the counts of cases describe the training part, which alone may shape a training.

    Args:
        dataset: what the dataset is.
        split: facts of the cases of ``training``, ``validation`` and ``test``.

    Returns:
        What :func:`write` writes. Lists of three are x, y, z in voxels (or mm) of the working orientation; boxes are
        half-open.
    """
    training = split["training"]
    box, reason = _composite_box(training)
    sizes = np.array([case.end for case in training]) - np.array([case.start for case in training])
    return {
        "name": dataset.name,
        "command": dataset.command,
        "package_version": __version__,
        "orientation": ORIENTATION,
        "cases": {part: len(facts) for part, facts in split.items()},
        "median_spacing": _plain(np.median([case.spacing for case in training], axis=0)),
        "median_shape": _plain(np.median([case.shape for case in training], axis=0)),
        "foreground_box": box,
        "foreground_box_reason": reason,
        "foreground_size": {"median": _plain(np.median(sizes, axis=0)), "largest": _plain(sizes.max(axis=0))},
        "classes": _frequencies(training),
        "cases_without": {
            region: {part: [case.name for case in facts if not _has(case, region)] for part, facts in split.items()}
            for region in REGIONS
        },
    }


def statistics_file(output: Path) -> Path:
    """Return where the statistics of a datalist lie: ``<stem>_statistics.json`` beside it."""
    return output.with_name(f"{output.stem}_statistics.json")


def check_output(path: Path) -> None:
    """Raise ``UserError`` if something that is not statistics has the name of the file to write.

    Args:
        path: statistics to write.
    """
    if path.exists() and not _are_statistics(path):
        raise UserError(f"{path}: exists and is not statistics of ours; choose another --output or remove it")


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write statistics under a temporary name, then rename the file.

    Args:
        path: file to write.
        content: what :func:`statistics` returned.
    """
    write_json(path, content)


def _composite_box(cases: Sequence[CaseFacts]) -> tuple[dict[str, list[int]] | None, str | None]:
    """Return the box around all foregrounds, or why there is none: it needs one grid for all."""
    shapes = sorted({case.shape for case in cases})
    if len(shapes) > 1:
        return None, f"the training cases differ in shape: {join_some([_text(shape) for shape in shapes], 4)}"
    if not np.allclose([case.spacing for case in cases], cases[0].spacing, atol=AFFINE_TOLERANCE):
        return None, "the training cases differ in spacing"
    start, end = np.min([case.start for case in cases], axis=0), np.max([case.end for case in cases], axis=0)
    return {"start": start.tolist(), "end": end.tolist()}, None


def _frequencies(cases: Sequence[CaseFacts]) -> dict[str, dict[str, float]]:
    voxels = {name: sum(case.voxels[name] for case in cases) for name in CLASS_NAMES}
    return {name: {"voxels": number, "share": number / sum(voxels.values())} for name, number in voxels.items()}


def _has(case: CaseFacts, region: str) -> bool:
    return any(case.voxels[name] for name, regions in REGIONS_OF.items() if region in regions)


def _plain(values: NDArray[np.floating[Any] | np.integer[Any]]) -> list[float]:
    """Return numbers for JSON: whole ones without a decimal point, others with four."""
    return [int(value) if value == int(value) else round(float(value), 4) for value in values]


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _are_statistics(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.keys() >= _KEYS
