"""Reading the datalists that data_prep writes."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from monai.utils import ensure_tuple

from pu_unet_monai.data.label_numbering import NUMBERINGS, is_numbering
from pu_unet_monai.data.modalities import MODALITIES
from pu_unet_monai.data.volume_cases import VolumeCase, find_volume_cases
from pu_unet_monai.errors import UserError, join_some
from pu_unet_monai.images import IMAGE_SUFFIXES

__all__ = ["image_of", "is_image", "list_images", "list_volumes", "load_datalist"]

_SECTIONS = ("training", "validation", "test")
_PATH_KEYS = ("image", "label")
_BINARY = "binary"
_RESULTS = ("_seg", "_overlay")


def load_datalist(
    datalist_file: str | os.PathLike[str],
    dataset_dir: str | os.PathLike[str],
    section: str,
    exclude_classes: Sequence[str] = (),
    numbered: bool = False,
) -> list[dict[str, Any]]:
    """Read one section of a datalist, with the dataset's folder before every path.

    Args:
        datalist_file: JSON written by ``python -m data_prep.<dataset>``.
        dataset_dir: the folder that the datalist's paths are relative to.
        section: ``"training"``, ``"validation"`` or ``"test"``.
        exclude_classes: entries whose ``class`` is one of these are left out (BUSI: ``["normal"]``).
        numbered: whether the labels number several structures, and the datalist has to say how. Defaults to False.

    Returns:
        Dictionaries with ``image`` and ``label`` (a path, or a list of paths), and whatever else the entry says; the
        datalist's ``label_numbering`` as ``numbering`` with each, unless it is ``"binary"``.

    Raises:
        UserError: if the datalist or the folder is missing or of another form, a class does not exist, the numbering is
            not said or not known, channels are in no order, the section is empty, or paths of any section lead out of
            the folder or do not exist (all of them in one message).
    """
    content = _read_json(Path(datalist_file))
    sections = _find_sections(content, section, datalist_file)
    folder = Path(dataset_dir)
    if not folder.is_dir():
        raise UserError(f"dataset_dir {folder}: no such folder; give the folder of the images with --dataset_dir DIR.")
    _check_paths(sections, folder, datalist_file)
    numbering = content.get("label_numbering", _BINARY)
    _check_meanings(numbering, sections, datalist_file)
    excluded = ensure_tuple(exclude_classes)
    classes = {entry["class"] for entries in sections.values() for entry in entries if "class" in entry}
    if unknown := [name for name in excluded if name not in classes]:
        raise UserError(
            f"exclude_classes: {datalist_file} has no class {join_some(unknown)}; it has {sorted(classes) or 'none'}."
        )
    entries = [entry for entry in sections[section] if entry.get("class") not in excluded]
    if not entries:
        raise UserError(f'{datalist_file}: no entry under "{section}" (exclude_classes: {list(excluded)}).')
    if numbered and numbering == _BINARY:
        raise UserError(
            f"{datalist_file}: no label_numbering, expected {' or '.join(map(repr, NUMBERINGS))}: is 1 edema or core? "
            "Write the datalist with python -m data_prep.brats."
        )
    shared = {} if numbering == _BINARY else {"numbering": numbering}
    return [entry | shared | {key: _with_folder(entry[key], folder) for key in _PATH_KEYS} for entry in entries]


def list_images(folder: str | os.PathLike[str]) -> list[dict[str, str]]:
    """List the images of a folder, sorted by name, as a dataset for inference.

    Args:
        folder: the folder; files named ``*_seg`` and ``*_overlay`` and hidden ones are not images.

    Returns:
        One ``{"image": path}`` a file.

    Raises:
        UserError: if the folder does not exist or holds no image, or two images differ in their extension alone.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a folder of images ({', '.join(IMAGE_SUFFIXES)}).")
    images = sorted(path for path in folder.iterdir() if is_image(path))
    if not images:
        others = sum(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())
        aside = f" (left aside: {others} hidden or named as results, {' or '.join(_RESULTS)})" if others else ""
        raise UserError(f"{folder}: holds no image; expected files that end in {', '.join(IMAGE_SUFFIXES)}{aside}.")
    stems = Counter(path.stem for path in images)
    same = [path.name for path in images if stems[path.stem] > 1]
    if same:
        raise UserError(f"{folder}: images whose results would have the same name: {join_some(same)}; rename them.")
    return [{"image": str(path)} for path in images]


def list_volumes(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """List the brain MRI cases of a folder, sorted by name, as a dataset for inference.

    Args:
        folder: the folder, see :func:`~pu_unet_monai.data.volume_cases.find_volume_cases`.

    Returns:
        One ``{"image": path or the paths of FLAIR, T1w, T1gd, T2w}`` a case.

    Raises:
        UserError: naming all cases that are not whole, or if there is none.
    """
    cases, problems = find_volume_cases(Path(folder))
    if problems:
        raise UserError("; ".join(problems))
    return [{"image": image_of(case)} for case in cases]


def image_of(case: VolumeCase) -> str | list[str]:
    """Return a case's files as a dataset's ``image``: one path, or one for each modality."""
    paths = [str(path) for path in case.images]
    return paths[0] if len(paths) == 1 else paths


def is_image(path: Path) -> bool:
    """Tell whether a file's name is that of an image to segment, rather than of a result of ours."""
    named = path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    # a link that leads nowhere is an image that cannot be read, lest it be missed
    return named and not path.stem.endswith(_RESULTS) and (path.is_file() or (path.is_symlink() and not path.exists()))


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(
            f"datalist_file {path}: no such file; write it with python -m data_prep.<kvasir, busi, isic2017, isic2018, "
            "brats or folder> and give it with --datalist_file FILE."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"datalist_file {path}: not JSON ({error}); write it again with data_prep.") from error
    if not isinstance(content, dict):
        raise UserError(f"datalist_file {path}: expected an object, found a {type(content).__name__}.")
    return content


def _find_sections(
    content: dict[str, Any], wanted: str, path: str | os.PathLike[str]
) -> dict[str, list[dict[str, Any]]]:
    sections = {name: content[name] for name in (*_SECTIONS, wanted) if name in content}
    wrong = [name for name, entries in sections.items() if not _is_section(entries)]
    if wrong or wanted not in sections:
        raise UserError(
            f'{path}: expected a list of {{"image": path, "label": path or paths}}, and a word for each class, under '
            f'"{(wrong or [wanted])[0]}"; write the file with python -m data_prep.<dataset>.'
        )
    return sections


def _is_section(entries: Any) -> bool:
    return isinstance(entries, list) and all(
        isinstance(entry, dict)
        and all(_is_path(entry.get(key)) for key in _PATH_KEYS)
        and isinstance(entry.get("class", ""), str)
        for entry in entries
    )


def _is_path(value: Any) -> bool:
    several = isinstance(value, list) and bool(value) and all(isinstance(path, str) for path in value)
    return several or isinstance(value, str)


def _check_paths(
    sections: dict[str, list[dict[str, Any]]], folder: Path, datalist_file: str | os.PathLike[str]
) -> None:
    entries = [entry for section in sections.values() for entry in section]
    paths = [path for entry in entries for key in _PATH_KEYS for path in ensure_tuple(entry[key])]
    outside = [path for path in paths if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts]
    if outside:
        raise UserError(f"{datalist_file}: paths must stay inside dataset_dir, but found {join_some(outside)}.")
    missing = [path for path in paths if not _is_file(folder / path)]
    if missing:
        raise UserError(
            f"dataset_dir {folder}: {len(missing)} files of {datalist_file} are not there: {join_some(missing)}. "
            "Is it the folder that the datalist was made from?"
        )


def _check_meanings(
    numbering: Any, sections: dict[str, list[dict[str, Any]]], datalist_file: str | os.PathLike[str]
) -> None:
    """Refuse what transforms would stumble over once the images are read."""
    problems = []
    if numbering != _BINARY and not is_numbering(numbering):
        problems.append(f"label_numbering {numbering!r} (expected {', '.join(map(repr, (_BINARY, *NUMBERINGS)))})")
    for section, entries in sections.items():
        for number, entry in enumerate(entries):
            if "numbering" in entry and not is_numbering(entry["numbering"]):
                expected = " or ".join(map(repr, NUMBERINGS))
                problems.append(f"{section}[{number}] numbering {entry['numbering']!r} (expected {expected})")
            if not _is_channel_order(entry.get("channel_order")):
                expected = f"each of 0 to {len(MODALITIES) - 1} once"
                problems.append(f"{section}[{number}] channel_order {entry['channel_order']!r} (expected {expected})")
    if problems:
        raise UserError(f"{datalist_file}: {join_some(problems)}; write it again with python -m data_prep.<dataset>.")


def _is_channel_order(value: Any) -> bool:
    if value is None:
        return True
    whole = isinstance(value, list) and all(type(index) is int for index in value)  # True and 1.0 equal 1
    return whole and sorted(value) == list(range(len(MODALITIES)))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for any file
        return False


def _with_folder(paths: str | list[str], folder: Path) -> str | list[str]:
    return str(folder / paths) if isinstance(paths, str) else [str(folder / path) for path in paths]
