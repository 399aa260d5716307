"""Segmenting DICOM studies with a trained bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import ResampleToMatch
from monai.utils import convert_to_numpy

from pu_unet_monai.data.volume_cases import VolumeCase
from pu_unet_monai.dicom.read import SeriesVolume, read_series
from pu_unet_monai.dicom.segmentation import write_segmentation
from pu_unet_monai.dicom.study import Study, find_studies, parse_choices
from pu_unet_monai.errors import UserError
from pu_unet_monai.runtime.bundle import TrainedBundle
from pu_unet_monai.runtime.cases import Cases
from pu_unet_monai.runtime.segment_volume import segment_volume
from pu_unet_monai.volumes import grid_text, same_grid

__all__ = ["find_dicom", "segment_study"]


def find_dicom(folder: Path, modalities: Sequence[str], settings: Sequence[str]) -> Cases[Study]:
    """Find the studies of a folder.

    Args:
        folder: folder of one or several studies.
        modalities: the names of the network's channels.
        settings: the options ``--series MODALITY=SERIES``.

    Raises:
        UserError: if there is none that could be segmented.
    """
    studies, problems, aside = find_studies(folder, modalities, parse_choices(settings, modalities))
    if not studies:
        raise UserError(f"--input {'; '.join(problems)}.")
    folders = {path.parent for study in studies for series in study.series.values() for path in series.files}
    return Cases({study.name: study for study in studies}, folders, problems, aside)


def segment_study(
    bundle: TrainedBundle, study: Study, output: Path, probabilities: bool, force: bool
) -> dict[str, Any]:
    """Segment one study and write ``<name>_seg.dcm`` beside what :func:`segment_volume` writes.

    Series on different grids are resampled to the finest of them, on which the segmentation then lies.

    Args:
        bundle: a bundle for volumes.
        study: the series of each modality.
        output: folder to write to.
        probabilities: whether to write probabilities too.
        force: whether series of different frames of reference are taken as aligned.

    Returns:
        What the report says of the case.

    Raises:
        UserError: if the series cannot be read, do not belong together, or are not what the network expects.
    """
    series = {modality: read_series(found) for modality, found in study.series.items()}
    reasons = _check_frames(study, series)
    if reasons and not force:
        raise UserError(f"{study.name}: {'; '.join(reasons)}; co-register them, or use --force.")
    image, reference, resampled = _on_one_grid(series)
    with tempfile.TemporaryDirectory(prefix=".dicom-", dir=output) as folder:
        path = Path(folder) / f"{study.name}.nii"
        nibabel.save(_to_nifti(image), path)
        case = segment_volume(bundle, VolumeCase(study.name, (path,), None), output, probabilities)
    labels = np.asarray(cast(nibabel.Nifti1Image, nibabel.load(output / case["segmentation"])).dataobj, np.uint8)
    case["forced"] = [*reasons, *case["forced"]]
    write_segmentation(
        labels,
        series[reference],
        output / f"{study.name}_seg.dcm",
        case["numbering"],
        bundle.name,
        bundle.weights_sha256,
        bool(case["forced"]),
    )
    notes = [note for volume in series.values() for note in volume.notes] + resampled
    used = {
        modality: {
            "description": str(found.header.get("SeriesDescription", "")),
            "number": str(found.header.get("SeriesNumber", "")),
            "uid": found.uid,
        }
        for modality, found in study.series.items()
    }
    del case["images"]
    case |= {"dicom_segmentation": f"{study.name}_seg.dcm", "series": used, "grid_of": reference}
    case["note"] = "took " + ", ".join(f"{name}: {each['number']} {each['description']}" for name, each in used.items())
    if notes:
        case["warning"] = "; ".join([*notes, *([case["warning"]] if "warning" in case else [])])
    return case


def _check_frames(study: Study, series: Mapping[str, SeriesVolume]) -> list[str]:
    """Say whether the series share their coordinates: one study may hold several positions of the patient."""
    frames = {modality: volume.volume.frame_of_reference_uid for modality, volume in series.items()}
    if len(set(frames.values())) == 1 and None not in frames.values():
        return []
    kinds: dict[str | None, list[str]] = {}
    for modality, frame in frames.items():
        kinds.setdefault(frame, []).append(modality)
    groups = " and ".join(", ".join(names) for names in kinds.values())
    return [f"the series do not share a frame of reference ({groups}), their positions cannot be compared"]


def _on_one_grid(series: Mapping[str, SeriesVolume]) -> tuple[MetaTensor, str, list[str]]:
    """Return the image (C, x, y, z), the modality whose grid it has, and what was resampled."""
    volumes = {modality: volume.to_tensor() for modality, volume in series.items()}
    reference = min(volumes, key=lambda modality: float(torch.linalg.det(volumes[modality].affine[:3, :3]).abs()))
    target = volumes[reference]
    others = [modality for modality, volume in volumes.items() if not same_grid(target, volume)]
    resample = ResampleToMatch(mode="bilinear", padding_mode="zeros")
    notes = []
    for modality in others:
        notes.append(f"{modality} ({grid_text(volumes[modality])}) was resampled to the grid of {reference}")
        volumes[modality] = cast(MetaTensor, resample(volumes[modality], target))
    stacked = torch.cat([volume.as_tensor() for volume in volumes.values()])
    return MetaTensor(stacked, affine=target.affine), reference, notes


def _to_nifti(image: MetaTensor) -> nibabel.Nifti1Image:
    voxels = np.moveaxis(convert_to_numpy(image), 0, -1)
    nifti = nibabel.Nifti1Image(voxels, np.asarray(image.affine))
    nifti.set_sform(nifti.affine, 1)
    nifti.set_qform(nifti.affine, 1)
    nifti.header.set_xyzt_units("mm")
    return nifti
