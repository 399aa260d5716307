"""Writing volumes as DICOM series, a file a slice, as an MR scanner's archive holds them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

__all__ = ["write_study"]

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_study(
    folder: Path,
    name: str,
    series: Mapping[str, NDArray[np.int16]],
    affine: NDArray[np.float64],
    date: str = "20260101",
) -> None:
    """Write a study of several series on one grid, ``<folder>/<number>_<description>/<instance>.dcm``.

    The same arguments give the same files. Slices lie along the last axis of the volumes.

    Args:
        folder: folder of the study.
        name: the patient's ID and name, a synthetic or public one.
        series: volumes (x, y, z) by series description; they get the numbers 1, 2, ...
        affine: (4, 4), from voxels to RAS in mm, with orthogonal axes.
        date: date of the study. Defaults to 1 January 2026.
    """
    lps = _RAS_TO_LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    directions = lps[:3, :3] / spacing
    for number, (description, voxels) in enumerate(series.items(), 1):
        place = folder / f"{number}_{re.sub(r'[^0-9A-Za-z]+', '_', description).strip('_')}"
        place.mkdir(parents=True, exist_ok=True)
        header = _header(name, description, number, date)
        header.ImageOrientationPatient = _decimals(directions[:, :2].T.ravel())
        header.PixelSpacing = _decimals(spacing[[1, 0]])
        (header.SliceThickness,) = (header.SpacingBetweenSlices,) = _decimals(spacing[2:])
        for index in range(voxels.shape[2]):
            position = lps[:3, 3] + index * lps[:3, 2]
            _write_slice(header, voxels[:, :, index].T, index + 1, position, place / f"{index + 1:04d}.dcm")


def _header(name: str, description: str, number: int, date: str) -> Dataset:
    study = generate_uid(entropy_srcs=["study", name, date])
    header = Dataset()
    header.SOPClassUID = MRImageStorage
    header.StudyInstanceUID = study
    header.SeriesInstanceUID = generate_uid(entropy_srcs=["series", study, str(number), description])
    header.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame", study])
    header.PatientID, header.PatientName = name, f"{name}^"
    header.PatientBirthDate = header.PatientSex = ""
    header.StudyDate = header.SeriesDate = header.AcquisitionDate = header.ContentDate = date
    header.StudyTime = header.SeriesTime = header.AcquisitionTime = header.ContentTime = "120000"
    header.StudyID, header.AccessionNumber, header.ReferringPhysicianName = "1", "", ""
    header.Modality, header.Manufacturer, header.BodyPartExamined = "MR", "", "BRAIN"
    header.SeriesNumber, header.SeriesDescription = number, description
    header.PatientPosition, header.PositionReferenceIndicator = "HFS", ""
    header.ImageType = ["DERIVED", "PRIMARY", "OTHER"]
    header.ScanningSequence, header.SequenceVariant, header.ScanOptions = "RM", "NONE", ""
    header.MRAcquisitionType, header.EchoTime, header.EchoTrainLength, header.RepetitionTime = "3D", "", "", ""
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
    return header


def _write_slice(header: Dataset, pixels: NDArray, instance: int, position: NDArray, path: Path) -> None:
    dataset = Dataset(header)
    dataset.InstanceNumber = instance
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[str(header.SeriesInstanceUID), str(instance)])
    dataset.ImagePositionPatient = _decimals(position)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = np.ascontiguousarray(pixels, "<i2").tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def _decimals(values: NDArray) -> list[str]:
    """Write numbers in the 16 characters that DICOM's decimal strings have."""
    return [format_number_as_ds(float(value)) for value in values]
