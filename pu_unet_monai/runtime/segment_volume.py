"""Segmenting brain MRI volumes with a trained bundle, one 4D file or four files a case."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import CommonKeys, convert_to_numpy

from pu_unet_monai.data.datalist import image_of
from pu_unet_monai.data.label_numbering import REGIONS
from pu_unet_monai.data.volume_cases import VolumeCase, find_volume_cases
from pu_unet_monai.errors import UserError
from pu_unet_monai.evaluation.volume_pictures import draw_three_planes
from pu_unet_monai.inferers import ForegroundInferer
from pu_unet_monai.printable import printable
from pu_unet_monai.runtime.bundle import TrainedBundle
from pu_unet_monai.runtime.cases import Cases
from pu_unet_monai.transforms import LabelToRegions, SaveLabelMap
from pu_unet_monai.volumes import VOLUME_SUFFIXES, to_file_voxels, write_volume

__all__ = ["find_volumes", "segment_volume"]

GRID = "pred_grid"
"""Where the bundle's postprocessing leaves the label map on the network's grid, for the picture."""


def find_volumes(path: Path) -> Cases[VolumeCase]:
    """Find the cases of a folder, or the one that ``path`` belongs to.

    Raises:
        UserError: if there is none that could be segmented.
    """
    cases, problems = find_volume_cases(path)
    if not cases:
        raise UserError(f"--input {'; '.join(problems)}.")
    folders = {image.parent for case in cases for image in case.images}
    files = [entry.name for entry in path.iterdir() if entry.is_file()] if path.is_dir() else []
    skipped = sorted(name for name in files if not name.lower().endswith(VOLUME_SUFFIXES))
    return Cases({case.name: case for case in cases}, folders, problems, skipped)


def segment_volume(bundle: TrainedBundle, case: VolumeCase, output: Path, probabilities: bool) -> dict[str, Any]:
    """Segment one case and write ``<case>_seg.nii.gz``, ``<case>.png`` and, if wanted, ``<case>_prob.nii.gz``.

    The segmentation comes last: where it is, all is there.

    Args:
        bundle: a bundle for volumes.
        case: the files of the case.
        output: folder to write to.
        probabilities: whether to write the probabilities of the regions TC, WT and ET (float32, 4D).

    Returns:
        What the report says of the case.

    Raises:
        UserError: if the files cannot be read, or are not what the network expects.
    """
    result = bundle.predict(image_of(case), probabilities)
    label_map: MetaTensor = result[CommonKeys.PRED]
    name = label_map.meta["case"] = case.name
    numbering = bundle.numbering or "brats"
    forced = label_map.meta.get("forced") or []
    voxels = convert_to_numpy(LabelToRegions(numbering)(label_map)).sum(axis=(1, 2, 3), dtype=np.int64)
    millilitres = voxels * float(np.abs(np.linalg.det(label_map.affine[:3, :3]))) / 1000
    volumes = {region: round(float(v), 3) for region, v in zip(REGIONS, millilitres, strict=True)}
    _draw(bundle, result, output / f"{name}.png", name, volumes, forced)
    files = {"segmentation": f"{name}_seg.nii.gz", "picture": f"{name}.png"}
    if probabilities:
        files["probabilities"] = f"{name}_prob.nii.gz"
        mark = "FORCED, input unfit; " if forced else ""
        description = f"{mark}probabilities of {', '.join(REGIONS)}; research use only"
        write_volume(result["probabilities"], output / files["probabilities"], np.float32, description)
    SaveLabelMap(output)(label_map)
    return {
        "case": name,
        "images": [image.name for image in case.images],
        **files,
        "numbering": numbering,
        "volumes_ml": volumes,
        "empty_regions": [region for region, volume in volumes.items() if not volume],
        "shape": list(label_map.shape[1:]),
        "spacing_mm": [round(float(s), 4) for s in label_map.pixdim],
        **_passage(bundle, to_file_voxels(result[CommonKeys.IMAGE])),
        "forced": forced,
    }


def _passage(bundle: TrainedBundle, to_file: np.ndarray) -> dict[str, Any]:
    """Say how the last case went through the network, and whether the weights were made for that."""
    inferer: Inferer | None = bundle.inferer
    while inferer is not None and not isinstance(inferer, ForegroundInferer):
        inferer = getattr(inferer, "inferer", None)
    if inferer is None or inferer.last is None:
        return {}
    window = inferer.last["window"]
    passage = {"window": window, "foreground_box": _box_in_file(inferer.last["box"], to_file)}
    if bundle.metadata.get("window", window) != window:
        shown = window if isinstance(window, str) else "tiles of " + "x".join(map(str, window))
        passage["warning"] = (
            f"segmented by {shown}, but the weights were trained for {bundle.metadata['window']}: the result differs "
            "from what they were tested with; if memory was short, raise memory_budget or free some"
        )
    return passage


def _box_in_file(box: Sequence[Sequence[int]], to_file: np.ndarray) -> list[list[int]]:
    """Turn a box, its first voxels and the first behind it, into voxels of the file."""
    start, end = np.asarray(box[0]), np.asarray(box[1]) - 1
    corners = [to_file[:3, :3] @ corner + to_file[:3, 3] for corner in itertools.product(*zip(start, end, strict=True))]
    first, last = np.min(corners, axis=0), np.max(corners, axis=0)
    return [np.rint(first).astype(int).tolist(), (np.rint(last).astype(int) + 1).tolist()]


def _draw(
    bundle: TrainedBundle,
    result: dict[str, Any],
    path: Path,
    name: str,
    volumes: dict[str, float],
    forced: list[str],
) -> None:
    image, label_map = result[CommonKeys.IMAGE], result[GRID]
    regions = convert_to_numpy(LabelToRegions(bundle.numbering or "brats")(label_map))
    title = f"{printable(name)}: " + ", ".join(f"{region} {volumes[region]:.1f} mL" for region in ("WT", "TC", "ET"))
    if forced:
        title += "\nFORCED, the input is not what the network was trained on: " + "; ".join(forced)
    spacing = tuple(label_map.pixdim.tolist())
    voxels, to_file = convert_to_numpy(image), to_file_voxels(image)
    draw_three_planes(voxels, regions, spacing, to_file, path, title, bundle.channel_names)
