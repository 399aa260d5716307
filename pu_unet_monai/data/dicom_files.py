"""Telling DICOM files from others by their first bytes."""

from __future__ import annotations

from pathlib import Path

from pu_unet_monai.errors import UserError
from pu_unet_monai.volumes import VOLUME_SUFFIXES

__all__ = ["holds_dicom", "is_dicom_file"]

_PREAMBLE = 128
_MAGIC = b"DICM"


def is_dicom_file(path: Path) -> bool:
    """Tell whether a file begins as DICOM files do, whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC
    except OSError:
        return False


def holds_dicom(path: Path) -> bool:
    """Tell whether ``path`` is a DICOM file, or a folder with some in or below it.

    Raises:
        UserError: if a folder holds NIfTI, MHA or NRRD files too: one of the two would be segmented without a word of
            the other.
    """
    if path.is_file():
        return is_dicom_file(path)
    files = [file for file in path.rglob("*") if file.is_file()]
    dicom = next((file for file in files if is_dicom_file(file)), None)
    volume = next((file for file in files if file.name.lower().endswith(VOLUME_SUFFIXES)), None)
    if dicom and volume:
        raise UserError(
            f"--input {path}: holds DICOM ({dicom.relative_to(path)}) and other volumes ({volume.relative_to(path)}); "
            "give a folder that holds one kind."
        )
    return dicom is not None
