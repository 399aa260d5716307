"""Segmenting DICOM studies with a trained bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import convert_to_numpy

from pu_unet_monai.data.volume_cases import VolumeCase
from pu_unet_monai.dicom.read import SeriesVolume, read_series
from pu_unet_monai.dicom.segmentation import write_segmentation
from pu_unet_monai.dicom.study import Study, find_studies, parse_choices
from pu_unet_monai.errors import UserError, find_user_error
from pu_unet_monai.files import temporary_folder
from pu_unet_monai.runtime.bundle import TrainedBundle
from pu_unet_monai.runtime.cases import Cases
from pu_unet_monai.runtime.segment_volume import segment_volume
from pu_unet_monai.volumes import grid_text, resample, same_grid

__all__ = ["find_dicom", "segment_study"]

_LARGEST_UNCOVERED_SHARE = 0.02
_FILES = ("segmentation", "picture", "probabilities")


def find_dicom(folder: Path, modalities: Sequence[str], settings: Sequence[str], identified: bool) -> Cases[Study]:
    """Find the studies of a folder.

    Args:
        folder: folder of one or several studies.
        modalities: the names of the network's channels.
        settings: the options ``--series MODALITY=SERIES``.
        identified: whether results are named by the patient's ID, and say the series' UIDs and whole
            descriptions.

    Raises:
        UserError: if there is none that could be segmented.
    """
    studies, problems, aside = find_studies(folder, modalities, parse_choices(settings, modalities), identified)
    if not studies:
        raise UserError(f"--input {'; '.join(problems)}.")
    folders = {path.parent for study in studies for series in study.series.values() for path in series.files}
    return Cases({study.name: study for study in studies}, folders, problems, aside)


def segment_study(
    bundle: TrainedBundle, study: Study, output: Path, probabilities: bool, force: bool
) -> dict[str, Any]:
    """Segment one study and write ``<name>_seg.dcm`` beside what :func:`segment_volume` writes.

    Series on different grids are resampled to one of them, on which the segmentation then lies.

    Args:
        bundle: a bundle for volumes.
        study: the series of each modality.
        output: folder to write to.
        probabilities: whether to write probabilities too.
        force: whether series of different frames of reference, or that cover different parts of the head, are taken.

    Returns:
        What the report says of the case.

    Raises:
        UserError: if the series cannot be read, do not belong together, or are not what the network expects; nothing
            of the case is left then.
    """
    series = {modality: read_series(found) for modality, found in study.series.items()}
    image, reference, resampled, uncovered = _on_one_grid(series)
    reasons = [*_check_frames(series), *uncovered]
    if reasons and not force:
        raise UserError(f"{'; '.join(reasons)}. Mend it, or use --force for a result that is marked so.")
    dicom_segmentation = output / f"{study.name}_seg.dcm"
    case = _segment(bundle, study.name, image, output, probabilities)
    case["forced"] = [*reasons, *case["forced"]]
    try:
        labels = np.asarray(cast(nibabel.Nifti1Image, nibabel.load(output / case["segmentation"])).dataobj, np.uint8)
        numbering, forced = case["numbering"], bool(case["forced"])
        write_segmentation(
            labels, series[reference], dicom_segmentation, numbering, bundle.name, bundle.weights_sha256, forced
        )
    except BaseException:
        for path in (dicom_segmentation, *(output / case[key] for key in _FILES if key in case)):
            path.unlink(missing_ok=True)
        raise
    case["dicom_segmentation"] = dicom_segmentation.name
    return case | _describe(study, series, reference, resampled, case.get("warning"))


def _segment(bundle: TrainedBundle, name: str, image: MetaTensor, output: Path, probabilities: bool) -> dict[str, Any]:
    """Segment an image by way of a file, which gives the results their geometry."""
    with temporary_folder(output, ".dicom-") as folder:
        path = folder / f"{name}.nii"
        nibabel.save(_to_nifti(image), path)
        try:
            case = segment_volume(bundle, VolumeCase(name, (path,), None), output, probabilities)
        except Exception as error:
            if user_error := find_user_error(error):
                raise UserError(str(user_error).replace(f"{path}: ", "")) from error
            raise
    del case["images"]
    return case


def _describe(
    study: Study, series: Mapping[str, SeriesVolume], reference: str, resampled: list[str], warning: str | None
) -> dict[str, Any]:
    """Say which series were taken, and what was done to them."""
    used = {
        modality: {
            "description": found.description,
            "number": str(found.header.get("SeriesNumber", "")),
            **({"uid": found.uid} if study.identified else {}),
        }
        for modality, found in study.series.items()
    }
    notes = [note for volume in series.values() for note in volume.notes]
    warnings = [*notes, *resampled, *filter(None, [warning])]
    return {
        "series": used,
        "grid_of": reference,
        "note": "took " + ", ".join(f"{name}: {each['number']} {each['description']}" for name, each in used.items()),
        **({"warning": "; ".join(warnings)} if warnings else {}),
    }


def _check_frames(series: Mapping[str, SeriesVolume]) -> list[str]:
    """Say whether the series share their coordinates: one study may hold several positions of the patient."""
    kinds: dict[str | None, list[str]] = {}
    for modality, volume in series.items():
        kinds.setdefault(volume.volume.frame_of_reference_uid, []).append(modality)
    if len(kinds) == 1:
        return []
    groups = " and ".join(", ".join(names) for names in kinds.values())
    return [
        f"the series do not share a frame of reference ({groups}), their positions cannot be compared: co-register them"
    ]


def _on_one_grid(series: Mapping[str, SeriesVolume]) -> tuple[MetaTensor, str, list[str], list[str]]:
    """Return the image (C, x, y, z), the modality whose grid it has, what was resampled, and what does not cover it.

    The grid is that with the thinnest thickest side of a voxel, of several the one with the smallest voxel: slices of
    3 mm with fine pixels lose against 1 mm in all directions.
    """
    volumes = {modality: volume.to_tensor() for modality, volume in series.items()}
    reference = min(volumes, key=lambda name: (round(max(volumes[name].pixdim.tolist()), 3), _voxel(volumes[name])))
    target = volumes[reference]
    head = target.as_tensor() != 0
    resampled, uncovered = [], []
    for modality, volume in volumes.items():
        if same_grid(target, volume):
            continue
        covered = resample(MetaTensor(torch.ones_like(volume.as_tensor()), affine=volume.affine), target).as_tensor()
        outside = 1 - (covered[head] > 0).float().mean().item() if head.any() else 0.0
        note = f"{modality} ({grid_text(volume)}) was resampled to the grid of {reference}"
        resampled.append(f"{note}, of whose head it does not reach {outside:.1%}" if outside else note)
        if outside > _LARGEST_UNCOVERED_SHARE:
            uncovered.append(
                f"{modality} does not reach {outside:.0%} of the head that {reference} shows, expected at most "
                f"{_LARGEST_UNCOVERED_SHARE:.0%} (slices missing at an end?): send or acquire the whole head"
            )
        volumes[modality] = resample(volume, target)
    stacked = torch.cat([volume.as_tensor() for volume in volumes.values()])
    return MetaTensor(stacked, affine=target.affine), reference, resampled, uncovered


def _voxel(volume: MetaTensor) -> float:
    return round(float(np.prod(volume.pixdim.tolist())), 4)


def _to_nifti(image: MetaTensor) -> nibabel.Nifti1Image:
    voxels = np.moveaxis(convert_to_numpy(image), 0, -1)
    nifti = nibabel.Nifti1Image(voxels, np.asarray(image.affine))
    nifti.set_sform(nifti.affine, 1)
    nifti.set_qform(nifti.affine, 1)
    nifti.header.set_xyzt_units("mm")
    return nifti
