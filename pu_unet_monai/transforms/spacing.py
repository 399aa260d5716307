"""Resampling to a spacing beside whatever else an item holds."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, cast

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Spacingd
from monai.utils import LazyAttr, TraceKeys

__all__ = ["PlainSpacingd"]

_SAME = 1e-6
"""How much a matrix from voxels to voxels may differ from the identity; MONAI's own bound is 1e-3."""


class PlainSpacingd(Spacingd):
    """MONAI's ``Spacingd`` that looks at its own keys alone, and does nothing where there is nothing to do.

    MONAI's (1.6.1) takes every key that begins with the image's for a dictionary of metadata, and fails on
    ``image_path``, which MONAI Label adds to every item. And it makes float32 even of volumes that it does not
    resample; here they keep the type of their voxels, and the memory where they lie.
    """

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """Resample the volumes of all keys."""
        others = {key: value for key, value in data.items() if key not in self.keys}
        own = {key: value for key, value in data.items() if key in self.keys}
        planned = super().__call__(own, lazy=True)
        if not (self.lazy if lazy is None else lazy):
            if not all(_is_identity(volume) for volume in planned.values()):
                return {**others, **super().__call__(own, lazy=False)}
            for volume in planned.values():
                _record(cast(MetaTensor, volume))
        return {**others, **planned}


def _is_identity(volume: Any) -> bool:
    """Tell whether all that is planned for a volume is one resampling to the grid that it has."""
    if not isinstance(volume, MetaTensor) or len(volume.pending_operations) != 1:
        return False
    (operation,) = volume.pending_operations
    same_shape = tuple(operation[LazyAttr.SHAPE]) == tuple(volume.shape[1:])
    affine = np.asarray(operation[LazyAttr.AFFINE])
    return same_shape and np.allclose(affine, np.eye(len(affine)), rtol=0, atol=_SAME)


def _record(volume: MetaTensor) -> None:
    """Turn the planned operation into a done one, such as MONAI records where it resamples nothing."""
    operation = volume.pending_operations.pop()
    done = {key: value for key, value in operation.items() if key not in (LazyAttr.SHAPE, LazyAttr.AFFINE)}
    volume.push_applied_operation({**done, TraceKeys.LAZY: False})
