"""Finding brain MRI cases by the names of their files: one 4D file a case, or a file a modality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pu_unet_monai.data.modalities import MODALITIES, split_modality
from pu_unet_monai.errors import join_some
from pu_unet_monai.volumes import VOLUME_SUFFIXES, strip_suffix

__all__ = ["VolumeCase", "find_volume_cases"]

_DEPTH = 2
"""How far below the given folder cases may lie: ``HGG/<case>`` in older years of BraTS."""
_LABEL_FOLDERS = {"labelsTr", "labelsTs"}
"""Of the Decathlon's layout; what they hold has the names of the images."""
_LABEL_ENDINGS = ("_seg", "-seg")
_ADVICE = dict(zip(MODALITIES, ("_flair", "_t1", "_t1ce", "_t2"), strict=True))

_Files = dict[str | None, list[Path]]
"""Image files of one case by modality; None where the name says no modality: one 4D file."""


@dataclass(frozen=True)
class VolumeCase:
    """The files of one case.

    Args:
        name: name of the case, from the names of its files.
        images: one 4D file, or four 3D files in the order FLAIR, T1w, T1gd, T2w.
        label: label map that lies beside them; None where there is none.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None


def find_volume_cases(path: Path) -> tuple[list[VolumeCase], list[str]]:
    """Find the cases of a file or folder by names alone; no file is opened.

    A file whose name ends in a modality (see :func:`~pu_unet_monai.data.modalities.modality_of`) belongs to the case
    named by the rest, or by its folder if nothing is left (``A/flair.nii.gz``). Files named ``*_seg*`` or ``*-seg*``
    are no images: ``A_seg`` is the label of case A, the others are ignored, as are ``*_prob``, hidden files, and the
    folders ``labelsTr`` and ``labelsTs``. Each other volume is a 4D file and a case of its own.

    Args:
        path: one 4D file, or the file of one modality, whose siblings are found; or a folder of 4D files, of four
            files a case, of case folders (also one level further down), or a mixture of these; or one case folder.

    Returns:
        The cases, sorted by name, and what is wrong with others, one line each: modalities that are missing or there
        twice, two cases of one name, nothing found at all.
    """
    if path.is_file():
        found = [_case_of_file(path)]
    elif path.is_dir():
        found = [
            _case(folder, name, files, labels.get(name, []))
            for folder in _folders(path, _DEPTH)
            for images, labels in [_sort_files(folder)]
            for name, files in images.items()
        ]
    else:
        return [], [f"{path}: no such file or folder; check the path"]
    problems = [case for case in found if isinstance(case, str)]
    cases, twice = _without_namesakes([case for case in found if isinstance(case, VolumeCase)])
    if not found:
        problems.append(
            f"{path}: no volume found in it or up to {_DEPTH} folders below, expected file names that end in "
            f"{', '.join(VOLUME_SUFFIXES)} (or DICOM files with their preamble)"
        )
    return sorted(cases, key=lambda case: case.name), problems + twice


def _folders(path: Path, depth: int) -> Iterator[Path]:
    yield path
    if depth:
        for child in sorted(path.iterdir()):
            if child.is_dir() and not child.name.startswith(".") and child.name not in _LABEL_FOLDERS:
                yield from _folders(child, depth - 1)


def _sort_files(folder: Path) -> tuple[dict[str, _Files], dict[str, list[Path]]]:
    """Return the image files and the label files of a folder by the name of their case."""
    images: dict[str, _Files] = {}
    labels: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if not _is_volume(path):
            continue
        if _is_no_image(path):
            labels.setdefault(_owner_of_label(path), []).append(path)
        else:
            name, modality = _split(path)
            images.setdefault(name, {}).setdefault(modality, []).append(path)
    return images, labels


def _is_volume(path: Path) -> bool:
    return path.name.lower().endswith(VOLUME_SUFFIXES) and not path.name.startswith(".") and path.is_file()


def _is_no_image(path: Path) -> bool:
    """Tell whether a volume is a label, or a result of ours, by its name."""
    stem = strip_suffix(path).lower()
    return stem == "seg" or any(ending in stem for ending in _LABEL_ENDINGS) or stem.endswith("_prob")


def _owner_of_label(path: Path) -> str:
    """Return the name of the case that a label would belong to; nothing has the name of what is no label."""
    stem = strip_suffix(path)
    if stem.lower() == "seg":
        return _folder_name(path)
    return stem[:-4] if stem.lower().endswith(_LABEL_ENDINGS) else stem


def _split(path: Path) -> tuple[str, str | None]:
    rest, modality = split_modality(strip_suffix(path))
    return rest or _folder_name(path), modality


def _folder_name(path: Path) -> str:
    return path.absolute().parent.name


def _case_of_file(path: Path) -> VolumeCase | str:
    if not _is_volume(path):
        return f"{path}: no volume by its name, expected one that ends in {', '.join(VOLUME_SUFFIXES)}"
    if _is_no_image(path):
        return f"{path}: a label or a result by its name, not an image; give the image, or rename the file"
    images, labels = _sort_files(path.parent)
    name, _ = _split(path)
    return _case(path.parent, name, images[name], labels.get(name, []))


def _case(
    folder: Path, name: str, files: Mapping[str | None, Sequence[Path]], labels: Sequence[Path]
) -> VolumeCase | str:
    """Return a case, or a line that says why its files make none."""
    single = files.get(None, [])
    given = [path for paths in files.values() for path in paths]
    if len(labels) > 1:
        return f"{folder}: case {name} has {len(labels)} labels ({_names(labels)}); remove or rename all but one"
    label = labels[0] if labels else None
    if len(single) == len(given) == 1:
        return VolumeCase(name, tuple(single), label)
    if single:
        return f"{folder}: case {name} has several images ({_names(given)}); rename or remove all but one"
    missing = [modality for modality in MODALITIES if modality not in files]
    several = [modality for modality in MODALITIES if len(files.get(modality, [])) > 1]
    if missing or several:
        return _incomplete(folder, name, files, missing, several)
    return VolumeCase(name, tuple(files[modality][0] for modality in MODALITIES), label)


def _incomplete(
    folder: Path,
    name: str,
    files: Mapping[str | None, Sequence[Path]],
    missing: Sequence[str],
    several: Sequence[str],
) -> str:
    found = ", ".join(f"{modality} ({_names(files[modality])})" for modality in MODALITIES if modality in files)
    line = f"{folder}: case {name} has {found}"
    if missing:
        endings = ", ".join(_ADVICE[modality] for modality in missing)
        line += f" but no {', '.join(missing)}; add what is missing (names that end in {endings})"
        line += ", or rename the file if it is 4D" if sum(map(len, files.values())) == 1 else ""
    if several:
        line += f"; keep one file only of {', '.join(several)}"
    return line


def _names(paths: Sequence[Path]) -> str:
    return join_some([path.name for path in paths])


def _without_namesakes(cases: Sequence[VolumeCase]) -> tuple[list[VolumeCase], list[str]]:
    """Return the cases with a name of their own, and a line for each name that several have."""
    by_name: dict[str, list[VolumeCase]] = {}
    for case in cases:
        by_name.setdefault(case.name, []).append(case)
    problems = [
        f"case {name} is there {len(same)} times: {join_some([str(case.images[0]) for case in same])}; "
        "rename all but one, or give one of the folders"
        for name, same in by_name.items()
        if len(same) > 1
    ]
    return [same[0] for same in by_name.values() if len(same) == 1], problems
