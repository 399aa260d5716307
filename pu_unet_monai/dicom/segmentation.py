"""Writing a label map as a DICOM segmentation that refers to the series it was made from."""

from __future__ import annotations

import hashlib
import re
import warnings
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
from highdicom.seg import Segmentation, SegmentDescription
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from pu_unet_monai import __version__
from pu_unet_monai.data.label_numbering import NUMBERINGS
from pu_unet_monai.dicom.read import SeriesVolume
from pu_unet_monai.errors import UserError
from pu_unet_monai.evaluation.pictures import NOTICE
from pu_unet_monai.files import atomic_path

__all__ = ["write_segmentation"]

_CODES = {
    "non-enhancing core": codes.NCIt.NonEnhancingLesion,
    "edema": codes.SCT.Edema,
    "enhancing tumour": codes.NCIt.EnhancingLesion,
}
_MAY_BE_EMPTY = (
    *("AccessionNumber", "PatientBirthDate", "PatientID", "PatientName", "PatientSex"),
    *("ReferringPhysicianName", "StudyDate", "StudyID", "StudyTime"),
)
"""Of patient and study: what every object has to have, if only as an empty value."""
_DATE = r"(\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]))?"
_PATTERNS = {
    "PatientBirthDate": _DATE,
    "PatientSex": "[MFO]?",
    "StudyDate": _DATE,
    "StudyTime": r"(([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?)?",
}
_SERIES_NUMBER = 1000
"""Behind what scanners number."""


def write_segmentation(
    labels: NDArray[np.uint8],
    reference: SeriesVolume,
    path: Path,
    numbering: str,
    model: str,
    weights: str,
    forced: bool,
) -> None:
    """Write a label map as a binary segmentation object, a segment a structure, whole or not at all.

    Segment numbers are the label's numbers. Instance UIDs follow from the source, the weights and the labels: of the
    same result stored twice an archive keeps one object, another result is another object.

    Args:
        labels: label map (x, y, z) on the grid of ``reference.volume``.
        reference: the series that the segmentation lies on and refers to.
        path: the file to write.
        numbering: how the labels are numbered, ``"brats"`` or ``"decathlon"``.
        model: name of the bundle.
        weights: SHA-256 of its weights.
        forced: whether the input was let through by ``--force``.

    Raises:
        UserError: if the headers of the slices hold what no segmentation may refer to or copy.
    """
    for dataset in reference.datasets:
        for keyword in _MAY_BE_EMPTY:
            if keyword not in dataset or not _is_valid(keyword, str(dataset[keyword].value or "")):
                setattr(dataset, keyword, "")
    source = reference.datasets[0]
    entropy = [
        numbering,
        str(source.SeriesInstanceUID),
        model,
        weights,
        hashlib.sha256(labels.tobytes()).hexdigest(),
        str(forced),
        __version__,
    ]
    with warnings.catch_warnings():  # patients' names are what they are
        warnings.filterwarnings("ignore", message=".*unlikely to represent the intended person name")
        segmentation = _make(
            source_images=reference.datasets,
            pixel_array=_frames(labels, reference),
            segmentation_type="BINARY",
            segment_descriptions=_segments(numbering, model, weights),
            series_instance_uid=generate_uid(entropy_srcs=["series", *entropy]),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=generate_uid(entropy_srcs=["instance", *entropy]),
            instance_number=1,
            manufacturer="PU-UNet for MONAI",
            manufacturer_model_name=model,
            software_versions=__version__,
            device_serial_number=weights[:16],
            content_label="BRAIN_TUMOUR",
            content_description="FORCED, input unfit; research use only" if forced else NOTICE,
            series_description=f"{'FORCED ' if forced else ''}{model}, research use only",
        )
    with atomic_path(path) as temporary:
        pydicom.dcmwrite(temporary, segmentation, enforce_file_format=True)


def _make(**parts: Any) -> Segmentation:
    """Make the object; what is wrong with its source is said without the values, which may tell who the patient is."""
    try:
        return Segmentation(**parts)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"the headers of its slices are not as DICOM wants them ({type(error).__name__} where a segmentation takes "
            "over what they say, such as SOPClassUID and SpecificCharacterSet): check with dciodvfy, or give NIfTI."
        ) from error


def _is_valid(keyword: str, value: str) -> bool:
    """Tell whether a value may be copied: dates, times and codes of another form would end the writing."""
    pattern = _PATTERNS.get(keyword)
    return pattern is None or re.fullmatch(pattern, value) is not None


def _frames(labels: NDArray[np.uint8], reference: SeriesVolume) -> NDArray[np.uint8] | highdicom.Volume:
    """Lay labels out as frames: of slices one each, in their order and at their own places, so that they refer to them.

    A multi-frame object has an order of its own; there the volume's geometry says which frame is which.
    """
    if len(reference.datasets) > 1:
        return np.ascontiguousarray(labels.transpose(2, 1, 0))
    return reference.volume.with_array(labels).permute_spatial_axes([2, 1, 0])


def _segments(numbering: str, model: str, weights: str) -> list[SegmentDescription]:
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=model, family=codes.DCM.ArtificialIntelligence, version=__version__, parameters={"weights_sha256": weights}
    )
    structures = {numbers[0]: structure for structure, numbers in NUMBERINGS[numbering].items()}
    return [
        SegmentDescription(
            segment_number=number,
            segment_label=structures[number],
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=_CODES[structures[number]],
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            anatomic_regions=[codes.SCT.Brain],
        )
        for number in sorted(structures)
    ]
