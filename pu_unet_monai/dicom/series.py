"""Finding the DICOM series of a folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.misc import is_dicom
from tqdm import tqdm

from pu_unet_monai.dicom.shown_description import show_description

__all__ = ["Series", "find_series"]

_IDENTITY = (
    *("PatientName", "PatientID", "AccessionNumber", "OtherPatientNames", "OtherPatientIDs", "PatientBirthName"),
    *("PatientMotherBirthName", "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName"),
)
_TAGS = (
    *_IDENTITY,
    *(
        "ContrastBolusAgent",
        "ImageOrientationPatient",
        "ImageType",
        "ImagePositionPatient",
        "Modality",
        "NumberOfFrames",
    ),
    *(
        "ProtocolName",
        "Rows",
        "SOPClassUID",
        "SOPInstanceUID",
        "SeriesDescription",
        "SeriesInstanceUID",
        "SeriesNumber",
    ),
    *("StudyDate", "StudyInstanceUID"),
)
_MODALITIES = (
    *("CR", "CT", "DX", "ECG", "KO", "MG", "MR", "NM", "OT", "PR", "PT", "REG", "RF", "RTDOSE", "RTIMAGE", "RTPLAN"),
    *("RTSTRUCT", "SC", "SEG", "SR", "US", "XA"),
)


@dataclass(frozen=True)
class Series:
    """The files of one series of images.

    Args:
        header: what the first file says of the series, without pixels.
        identified: whether identifiers were asked for.
        files: its files, in the order of their names.
        patients: the patients' IDs in them, of which there should be one.
    """

    header: Dataset
    identified: bool = False
    files: list[Path] = field(default_factory=list)
    patients: set[str] = field(default_factory=set)

    @property
    def uid(self) -> str:
        """``SeriesInstanceUID``."""
        return str(self.header.SeriesInstanceUID)

    @property
    def title(self) -> str:
        """Number, description and size, for messages; the UID could tell who the patient is."""
        number = self.header.get("SeriesNumber")
        named = f"series {number if number is not None else 'without a number'}"
        return f"{named} ({self.description or 'no description'}, {len(self.files)} files)"

    @property
    def description(self) -> str:
        """``SeriesDescription``; unless identifiers were asked for with stars for all that is no word of MRI."""
        text = str(self.header.get("SeriesDescription") or "")
        if self.identified:
            return text
        return show_description(text, [str(self.header.get(keyword) or "") for keyword in _IDENTITY])

    @property
    def modality(self) -> str:
        """``Modality`` if it is one of the usual, for messages."""
        modality = str(self.header.get("Modality") or "")
        return modality if modality in _MODALITIES else "another modality"


def find_series(folder: Path, identified: bool = False) -> tuple[list[Series], list[str]]:
    """Find all series of images in a folder and those below it, whatever the files are called.

    Args:
        folder: the folder of one or several studies; or one file.
        identified: whether descriptions are shown as they are. Defaults to False: words of MRI alone.

    Returns:
        The series, by number and description; and what was left aside, one line each: files that are no DICOM or
        cannot be read, objects that are no images (segmentations, reports, presentation states).
    """
    series: dict[tuple[str, str], Series] = {}
    aside = []
    entries = [folder] if folder.is_file() else folder.rglob("*")
    paths = sorted(path for path in entries if path.is_file() and not path.name.startswith("."))
    for path in tqdm(paths, desc="reading DICOM headers", unit="file", disable=None, leave=False):
        try:
            header = _read_header(path) if is_dicom(path) else None
        except Exception as error:  # pydicom fails in many ways
            aside.append(
                f"{path.name}: cannot be read as DICOM ({(str(error) or type(error).__name__).splitlines()[0]})"
            )
            continue
        if header is None:
            aside.append(f"{path.name}: no DICOM file")
        elif "Rows" not in header or "SeriesInstanceUID" not in header or header.get("Modality") == "SEG":
            if path.name.upper() != "DICOMDIR":
                aside.append(f"{path.name}: no image, but {Series(header).modality}")
        else:
            key = str(header.get("StudyInstanceUID")), str(header.SeriesInstanceUID)
            of_series = series.setdefault(key, Series(header, identified))
            of_series.files.append(path)
            of_series.patients.add(str(header.get("PatientID")))
    return sorted(series.values(), key=_order), aside


def _read_header(path: Path) -> Dataset:
    header = pydicom.dcmread(path, specific_tags=list(_TAGS), stop_before_pixels=True)
    for _ in header:  # pydicom reads a value when it is asked for
        pass
    return header


def _order(series: Series) -> tuple[str, int, str]:
    header = series.header
    try:
        number = int(header.get("SeriesNumber") or 0)
    except (TypeError, ValueError):  # several numbers, or none
        number = 0
    return str(header.get("StudyInstanceUID")), number, series.uid
