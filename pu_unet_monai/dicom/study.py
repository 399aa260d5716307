"""Putting the series of a DICOM study together to one case."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pu_unet_monai.dicom.description import modality_of_series
from pu_unet_monai.dicom.series import Series, find_series
from pu_unet_monai.errors import UserError, join_some

__all__ = ["Study", "find_studies", "parse_choices"]

_MODALITY = "MR"


@dataclass(frozen=True)
class Study:
    """The series of one study that a network takes.

    Args:
        name: what the results are called: by its identifiers if they were asked for, else by a hash of them.
        series: the series by modality, in the order of the network's channels.
        identified: whether identifiers were asked for.
    """

    name: str
    series: dict[str, Series]
    identified: bool = False


def parse_choices(settings: Sequence[str], modalities: Sequence[str]) -> dict[str, str]:
    """Read ``--series MODALITY=SERIES``.

    Args:
        settings: the options as given, such as ``FLAIR=3`` or ``T1gd=AX T1 POST``.
        modalities: the names of the network's channels.

    Returns:
        A series number, UID or description by modality.

    Raises:
        UserError: naming all that cannot be used.
    """
    choices: dict[str, str] = {}
    problems = []
    known = {modality.lower(): modality for modality in modalities}
    for setting in settings:
        name, equals, value = setting.partition("=")
        modality = known.get(name.strip().lower())
        if not equals or not value.strip() or modality is None:
            problems.append(
                f"--series {setting}: expected MODALITY=SERIES, one of {', '.join(modalities)} and a number, "
                "description or UID"
            )
        elif modality in choices:
            problems.append(f"--series {setting}: {modality} is given twice")
        else:
            choices[modality] = value.strip()
    if problems:
        raise UserError("; ".join(problems) + ".")
    return choices


def find_studies(
    folder: Path, modalities: Sequence[str], choices: Mapping[str, str], identified: bool = False
) -> tuple[list[Study], list[str], list[str]]:
    """Find the studies of a folder that have a series for each channel of a network.

    Args:
        folder: folder of one or several studies; files are told apart by their headers, not by their names.
        modalities: the names of the network's channels; a network of one channel takes the only series there is.
        choices: see :func:`parse_choices`; they come before what a series' description says.
        identified: whether names are the patient's ID and the date of the study. Defaults to False: ``study_`` and a
            hash of the study's UID, the same each time.

    Returns:
        The studies; what is wrong with others, one line each; what was left aside, one line each.
    """
    everything, aside = find_series(folder, identified)
    found = [series for series in everything if series.header.get("Modality", _MODALITY) == _MODALITY]
    aside += [f"{series.title}: {series.modality}, not MR" for series in everything if series not in found]
    by_study: dict[str, list[Series]] = {}
    for series in found:
        by_study.setdefault(str(series.header.get("StudyInstanceUID")), []).append(series)
    names = _identifying_names(by_study) if identified else {uid: _pseudonym(uid) for uid in by_study}
    studies, problems = [], []
    for uid, members in by_study.items():
        chosen = _choose(members, modalities, choices)
        if isinstance(chosen, str):
            problems.append(f"{folder}: study {names[uid]} {chosen}")
            continue
        studies.append(Study(names[uid], chosen, identified))
        used = {series.uid for series in chosen.values()}
        aside += [f"{series.title}: not needed" for series in members if series.uid not in used]
    if not found:
        others = f"; left aside: {join_some(aside, most=5)}" if aside else ""
        problems.append(f"{folder}: no series of MR images found in it or below{others}; give the folder of a study")
    return sorted(studies, key=lambda study: study.name), problems, aside


def _pseudonym(uid: str) -> str:
    return f"study_{hashlib.sha256(uid.encode()).hexdigest()[:10]}"


def _identifying_names(by_study: Mapping[str, Sequence[Series]]) -> dict[str, str]:
    """Return a name for each study that can name a file, and that no other has."""
    headers = {uid: members[0].header for uid, members in by_study.items()}
    for fields in (("PatientID", "StudyDate"), ("PatientID", "StudyDate", "StudyInstanceUID"), ("StudyInstanceUID",)):
        if not all(header.get("PatientID") for header in headers.values()) and "PatientID" in fields:
            continue
        names = {
            uid: re.sub(r"[^\w.-]+", "_", "_".join(str(header.get(name) or "") for name in fields)).strip("._")
            for uid, header in headers.items()
        }
        if all(names.values()) and len(set(names.values())) == len(names):
            return names
    return {uid: uid for uid in headers}


def _choose(
    members: Sequence[Series], modalities: Sequence[str], choices: Mapping[str, str]
) -> dict[str, Series] | str:
    """Return a series for each modality, or what is wrong."""
    named = {modality: _named(members, name) for modality, name in choices.items()}
    taken = {series.uid for found in named.values() for series in found}
    rest = [series for series in members if series.uid not in taken]
    candidates = {modality: named.get(modality, _described(rest, modality, modalities)) for modality in modalities}
    if taken_twice := _taken_twice(candidates):
        return taken_twice
    missing = [modality for modality, found in candidates.items() if not found]
    several = {modality: found for modality, found in candidates.items() if len(found) > 1}
    if missing or several:
        return _advise(members, choices, missing, several)
    chosen = {modality: found[0] for modality, found in candidates.items()}
    patients = set[str]().union(*(series.patients for series in chosen.values()))
    if len(patients) > 1:
        return f"has images of {len(patients)} patients; give the folder of one"
    return chosen


def _advise(
    members: Sequence[Series], choices: Mapping[str, str], missing: Sequence[str], several: Mapping[str, list[Series]]
) -> str:
    """Say which modalities have no series, or more than one, and what to do."""
    there = f"it has {join_some([series.title for series in members])}"
    unknown = [f"--series {modality}={choices[modality]}" for modality in missing if modality in choices]
    if unknown:
        return f"has no series for {join_some(unknown)}; {there}"
    problems = [f"has no {' and no '.join(missing)}"] if missing else []
    problems += [
        f"has {len(found)} series that may be {modality}: {join_some([series.title for series in found])}"
        for modality, found in several.items()
    ]
    example = f"--series {(missing or list(several))[0]}=NUMBER"
    advice = f"add the series, or if it is there choose it with {example}" if missing else f"choose with {example}"
    return f"{'; '.join(problems)}; {there}; {advice}"


def _taken_twice(candidates: Mapping[str, Sequence[Series]]) -> str | None:
    by_uid: dict[str, list[str]] = {}
    for modality, found in candidates.items():
        if len(found) == 1:
            by_uid.setdefault(found[0].uid, []).append(modality)
    double = [" and ".join(modalities) for modalities in by_uid.values() if len(modalities) > 1]
    return f"takes one series for {', and one for '.join(double)}; choose another with --series" if double else None


def _described(members: Sequence[Series], modality: str, modalities: Sequence[str]) -> list[Series]:
    """Return the series that say of themselves that they are of a modality; with one channel that is any."""
    return [series for series in members if len(modalities) == 1 or modality_of_series(series.header) == modality]


def _named(members: Sequence[Series], name: str) -> list[Series]:
    """Return the series of a number or UID, or else of a description."""
    by_number = [series for series in members if name in (str(series.header.get("SeriesNumber")), series.uid)]
    return by_number or [
        series for series in members if str(series.header.get("SeriesDescription", "")).lower() == name.lower()
    ]
