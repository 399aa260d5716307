"""Finding the DICOM series of a folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.misc import is_dicom
from tqdm import tqdm

__all__ = ["Series", "find_series"]

_TAGS = (
    *(
        "ContrastBolusAgent",
        "ImageOrientationPatient",
        "ImageType",
        "ImagePositionPatient",
        "Modality",
        "NumberOfFrames",
        "PatientID",
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


@dataclass(frozen=True)
class Series:
    """The files of one series of images.

    Args:
        header: what the first file says of the series, without pixels.
        files: its files, in the order of their names.
    """

    header: Dataset
    files: list[Path] = field(default_factory=list)

    @property
    def uid(self) -> str:
        """``SeriesInstanceUID``."""
        return str(self.header.SeriesInstanceUID)

    @property
    def title(self) -> str:
        """Number, description and size, for messages; the UID could tell who the patient is."""
        number, description = self.header.get("SeriesNumber"), self.header.get("SeriesDescription")
        named = f"series {number if number is not None else 'without a number'}"
        return f"{named} ({description or 'no description'}, {len(self.files)} files)"


def find_series(folder: Path) -> tuple[list[Series], list[str]]:
    """Find all series of images in a folder and those below it, whatever the files are called.

    Args:
        folder: the folder of one or several studies; or one file.

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
                aside.append(f"{path.name}: no image, but {header.get('Modality') or 'of no modality'}")
        else:
            key = str(header.get("StudyInstanceUID")), str(header.SeriesInstanceUID)
            series.setdefault(key, Series(header)).files.append(path)
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
