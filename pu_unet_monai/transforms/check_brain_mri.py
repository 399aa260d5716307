"""Does a volume look like what the brain networks were trained on?"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import ImageMetaKey
from numpy.typing import NDArray

from pu_unet_monai.data.modalities import MODALITIES
from pu_unet_monai.errors import UserError
from pu_unet_monai.volumes import without_orientation

__all__ = ["CheckBrainMRI", "CheckBrainMRId"]

_LEAST_ZERO_SHARE = 0.3
_LARGEST_SPACING = 3.0
_LEAST_OVERLAP = 0.5


class CheckBrainMRI(Transform):
    """Refuse a volume that is not a co-registered, skull-stripped brain of about 1 mm; otherwise change nothing.

    Args:
        force: whether such a volume passes all the same, with the reasons noted in ``meta["forced"]``. A modality
            without any signal or contrast never passes. Defaults to False.
    """

    def __init__(self, force: bool = False) -> None:
        self.force = force

    def __call__(self, volume: MetaTensor) -> MetaTensor:
        """Check ``volume``, (4, x, y, z): FLAIR, T1w, T1gd, T2w.

        Raises:
            UserError: naming all that is wrong and the step that is missing.
        """
        name = volume.meta[ImageMetaKey.FILENAME_OR_OBJ]
        values = volume.as_tensor().cpu().numpy()  # NumPy counts and compares several times faster than PyTorch
        signal = [channel != 0 for channel in values]
        counts = [int(np.count_nonzero(mask)) for mask in signal]
        empty = [modality for modality, count in zip(MODALITIES, counts, strict=True) if not count]
        if empty:
            raise UserError(f"{name}: all voxels of {', '.join(empty)} are zero; export the series again.")
        flat = [
            modality
            for modality, channel, mask in zip(MODALITIES, values, signal, strict=True)
            if _has_one_value(channel, mask)
        ]
        if flat:
            raise UserError(f"{name}: {', '.join(flat)} has one value in the whole brain; is it a mask, not an image?")
        reasons = [
            *_without_orientation(volume),
            *_not_stripped(signal),
            *_not_overlapping(signal, counts),
            *_too_coarse(volume),
        ]
        if reasons and not self.force:
            raise UserError(f"{name}: {'; '.join(reasons)}. Mend it, or use --force for a result that is marked so.")
        volume.meta["forced"] = [*volume.meta.get("forced", []), *reasons]
        return volume


def _has_one_value(channel: NDArray, signal: NDArray[np.bool_]) -> bool:
    """Tell whether all values that are not 0 are equal, slice by slice, since the first with a brain decides mostly."""
    slices = (values[mask] for values, mask in zip(channel.T, signal.T, strict=True) if mask.any())
    first = next(slices)
    return bool((first == first[0]).all()) and all(bool((values == first[0]).all()) for values in slices)


def _without_orientation(volume: MetaTensor) -> list[str]:
    lacks = without_orientation(volume)
    if not lacks:
        return []
    return [
        f"its header says nothing about orientation ({lacks}), left and right would be guessed: convert the series "
        "again"
    ]


def _not_stripped(signal: Sequence[NDArray[np.bool_]]) -> list[str]:
    anywhere = functools.reduce(np.logical_or, signal)
    zeros = (anywhere.size - int(np.count_nonzero(anywhere))) / anywhere.size
    if zeros >= _LEAST_ZERO_SHARE:
        return []
    return [
        f"only {zeros:.0%} of the voxels are zero, expected {_LEAST_ZERO_SHARE:.0%} or more: it does not look "
        "skull-stripped (remove the skull, and set the background to 0)"
    ]


def _not_overlapping(signal: Sequence[NDArray[np.bool_]], counts: Sequence[int]) -> list[str]:
    apart = []
    for modality, mask, count in zip(MODALITIES[1:], signal[1:], counts[1:], strict=True):
        overlap = 2 * int(np.count_nonzero(signal[0] & mask)) / (counts[0] + count)
        if overlap < _LEAST_OVERLAP:
            apart.append(f"{modality} {overlap:.2f}")
    if not apart:
        return []
    return [
        f"the brains do not overlap (Dice with {MODALITIES[0]}: {', '.join(apart)}; expected {_LEAST_OVERLAP} or "
        "more): co-register the modalities"
    ]


def _too_coarse(volume: MetaTensor) -> list[str]:
    spacing = volume.pixdim.tolist()
    if max(spacing) <= _LARGEST_SPACING:
        return []
    found = " x ".join(f"{s:.3g}" for s in spacing)
    return [f"voxels of {found} mm, expected {_LARGEST_SPACING:g} mm or less: acquire or export thinner slices"]


class CheckBrainMRId(MapTransform):
    """Dictionary form of :class:`CheckBrainMRI`."""

    def __init__(self, keys: KeysCollection, force: bool = False, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self._check = CheckBrainMRI(force)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check the volumes of all keys."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._check(d[key])
        return d
