"""The layout of the Medical Segmentation Decathlon, Task01_BrainTumour: ``dataset.json`` and 4D files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from pu_unet_monai.data.label_numbering import NUMBERINGS
from pu_unet_monai.data.modalities import MODALITIES, modality_of
from pu_unet_monai.data.volume_cases import VolumeCase
from pu_unet_monai.errors import UserError, join_some
from pu_unet_monai.volumes import strip_suffix

__all__ = ["CONTENTS", "read_decathlon"]

CONTENTS = "dataset.json"
"""The file that says what the dataset holds; a folder that has it is in this layout."""

_CLASSES = {0: "background"} | {number: name for name, numbers in NUMBERINGS["decathlon"].items() for number in numbers}


def read_decathlon(source: Path) -> tuple[list[VolumeCase], tuple[int, ...] | None, list[str]]:
    """Read which training cases a dataset has, and in which order their channels lie.

    Cases for test have no labels, and are left out.

    Args:
        source: folder with ``dataset.json``.

    Returns:
        The cases; ``channel_order`` (which channel comes first, second, ...), None if they are FLAIR, T1w, T1gd, T2w
        already; what is wrong with single cases, one line each.

    Raises:
        UserError: if ``dataset.json`` is no Decathlon contents of brain MRI, or numbers channels or labels in a way
            that is not known.
    """
    path = source / CONTENTS
    content = _read(path)
    order = _channel_order(content["modality"], path)
    _check_labels(content["labels"], path)
    cases: list[VolumeCase] = []
    problems: list[str] = []
    for entry in content["training"]:
        if problem := _problem_of(entry, path):
            problems.append(problem)
        else:
            image, label = source / entry["image"], source / entry["label"]
            cases.append(VolumeCase(strip_suffix(image), (image,), label))
    counts = Counter(case.name for case in cases)
    problems += [
        f"{path}: case {name} is listed {count} times; remove the others" for name, count in counts.items() if count > 1
    ]
    return cases, order, problems


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); copy it again") from error
    kinds = {"modality": dict, "labels": dict, "training": list}
    wrong = [
        key for key, kind in kinds.items() if not isinstance(content, dict) or not isinstance(content.get(key), kind)
    ]
    if wrong:
        raise UserError(
            f"{path}: no {join_some(wrong)} as in the Decathlon's Task01_BrainTumour; mend the file, or remove it if "
            "the cases lie in the BraTS layout"
        )
    return content


def _channel_order(modality: dict[str, Any], path: Path) -> tuple[int, ...] | None:
    """Return where in the files FLAIR, T1w, T1gd and T2w lie, or None if in this order."""
    found = {str(index): modality_of(str(name)) for index, name in modality.items()}
    names = [found.get(str(index)) for index in range(len(MODALITIES))]
    if len(found) != len(MODALITIES) or set(names) != set(MODALITIES):
        said = ", ".join(f"{index} {name}" for index, name in modality.items())
        raise UserError(
            f'{path}: "modality" is {said or "empty"}, expected 0 to 3 with one each of {", ".join(MODALITIES)}; name '
            "the channels as they lie in the files"
        )
    order = tuple(names.index(name) for name in MODALITIES)
    return None if order == tuple(range(len(MODALITIES))) else order


def _check_labels(labels: dict[str, Any], path: Path) -> None:
    if {str(number): _class_of(str(name)) for number, name in labels.items()} == {
        str(n): c for n, c in _CLASSES.items()
    }:
        return
    said = ", ".join(f"{number} {name}" for number, name in labels.items())
    expected = ", ".join(f"{number} {name}" for number, name in _CLASSES.items())
    raise UserError(
        f'{path}: "labels" is {said or "empty"}, expected the numbering of the Decathlon: {expected}; renumber the '
        "label files, or mend dataset.json if it is wrong"
    )


def _class_of(name: str) -> str | None:
    """Return the class that a name such as ``non-enhancing tumor`` means."""
    name = name.lower()
    if "background" in name:
        return "background"
    if "edema" in name or "oedema" in name:
        return "edema"
    if "non" in name or "necro" in name:
        return "non-enhancing core"
    return "enhancing tumour" if "enhancing" in name else None


def _problem_of(entry: Any, path: Path) -> str | None:
    files = [entry.get(key) for key in ("image", "label")] if isinstance(entry, dict) else [None]
    paths = [PurePosixPath(file) for file in files if isinstance(file, str)]
    if len(paths) < len(files):
        return f'{path}: expected {{"image": path, "label": path}} under "training", found {json.dumps(entry)}'
    outside = [str(file) for file in paths if file.is_absolute() or ".." in file.parts]
    return f"{path}: paths must stay inside the folder, found {join_some(outside)}" if outside else None
