"""Splitting volumes into minicubes, with or without context around each, and joining them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor, get_track_meta
from monai.transforms import InvertibleTransform, MapTransform, Transform
from monai.utils import ImageMetaKey, TraceKeys, TransformBackends, convert_to_tensor, ensure_tuple_rep
from torch.nn.functional import pad

from pu_unet_monai.errors import UserError

__all__ = ["JoinMinicubes", "JoinMinicubesd", "SplitMinicubes", "SplitMinicubesd"]


class SplitMinicubes(InvertibleTransform):
    """Split a volume into equal minicubes that lie side by side, each with a margin of context from its neighbours.

    At the edge of the volume the context is zero. The brain report's set-ups, as (z, y, x): a volume of
    (160, 192, 192) gives 8 minicubes of (80, 96, 96), or of (100, 116, 116) with 10 voxels of context. Invertible.

    Args:
        size: size of a minicube without its context, a number or one an axis.
        margin: voxels of context on each side, a number or one an axis. Defaults to 0.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012, as in MONAI

    def __init__(self, size: Sequence[int] | int, margin: Sequence[int] | int = 0) -> None:
        self.size = size
        self.margin = margin

    def __call__(self, img: NdarrayOrTensor) -> torch.Tensor:
        """Return the minicubes of a volume in raster order, the last axis fastest.

        Args:
            img: (C, *volume).

        Returns:
            (N, C, *(size + 2 * margin)); the metadata is still that of the volume.

        Raises:
            UserError: if the size does not divide that of the volume.
        """
        volume = convert_to_tensor(img, track_meta=get_track_meta())
        spatial = tuple(volume.shape[1:])
        size = ensure_tuple_rep(self.size, len(spatial))
        margin = ensure_tuple_rep(self.margin, len(spatial))
        if any(length % side for length, side in zip(spatial, size, strict=True)):
            raise UserError(_not_divided(volume, spatial, size))
        cubes = pad(convert_to_tensor(volume), [m for m in reversed(margin) for _ in range(2)])
        for axis, (side, m) in enumerate(zip(size, margin, strict=True), start=1):
            cubes = cubes.unfold(axis, side + 2 * m, side)
        # (C, *grid, *cube) to (*grid, C, *cube)
        cubes = cubes.movedim(0, len(spatial)).flatten(0, len(spatial) - 1)
        if not isinstance(volume, MetaTensor):
            return cubes
        result = MetaTensor(cubes).copy_meta_from(volume)
        self.push_transform(result, orig_size=spatial, extra_info={"margin": margin})
        return result

    def inverse(self, data: MetaTensor) -> torch.Tensor:
        """Join minicubes (N, C, *cube) with the margins that they were split with."""
        traced = self.pop_transform(data)
        return JoinMinicubes(traced[TraceKeys.ORIG_SIZE], traced[TraceKeys.EXTRA_INFO]["margin"])(data)


class JoinMinicubes(Transform):
    """Join minicubes to the volume that :class:`SplitMinicubes` made them of.

    Args:
        volume_size: spatial size of the volume.
        margin: voxels of context on each side of a minicube, which are dropped; 0 for predictions of the minicubes
            alone. Defaults to 0.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012, as in MONAI

    def __init__(self, volume_size: Sequence[int], margin: Sequence[int] | int = 0) -> None:
        self.volume_size = tuple(volume_size)
        self.margin = ensure_tuple_rep(margin, len(self.volume_size))

    def __call__(self, img: NdarrayOrTensor) -> torch.Tensor:
        """Return the volume of minicubes in raster order.

        Args:
            img: (N, C, *(size + 2 * margin)).

        Returns:
            (C, *volume_size), with the metadata of ``img``.

        Raises:
            UserError: if these minicubes do not fill the volume.
        """
        cubes = convert_to_tensor(img, track_meta=get_track_meta())
        core = [slice(m, side - m) for m, side in zip(self.margin, cubes.shape[2:], strict=True)]
        cores = convert_to_tensor(cubes)[(slice(None), slice(None), *core)]
        size = tuple(cores.shape[2:])
        dimensions = len(size)
        grid = [length // max(side, 1) for length, side in zip(self.volume_size, size, strict=True)]
        filled = tuple(n * side for n, side in zip(grid, size, strict=True))
        if filled != self.volume_size or torch.Size(grid).numel() != len(cores):
            raise UserError(
                f"{len(cores)} minicubes of {_text(size)} voxels do not fill a volume of {_text(self.volume_size)}; "
                "join with the size and the margin of the split."
            )
        # (*grid, C, *cube) to (C, grid, cube of each axis in turn)
        parts = cores.unflatten(0, grid)
        order = [axis for d in range(dimensions) for axis in (d, dimensions + 1 + d)]
        volume = parts.permute(dimensions, *order).reshape(cores.shape[1], *self.volume_size)
        return MetaTensor(volume).copy_meta_from(cubes) if isinstance(cubes, MetaTensor) else volume


class SplitMinicubesd(MapTransform, InvertibleTransform):
    """Dictionary form of :class:`SplitMinicubes`."""

    backend = SplitMinicubes.backend

    def __init__(
        self,
        keys: KeysCollection,
        size: Sequence[int] | int,
        margin: Sequence[int] | int = 0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self._split = SplitMinicubes(size, margin)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Split the volumes of all keys."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._split(d[key])
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Join the minicubes of all keys."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._split.inverse(d[key])
        return d


class JoinMinicubesd(MapTransform):
    """Dictionary form of :class:`JoinMinicubes`."""

    backend = JoinMinicubes.backend

    def __init__(
        self,
        keys: KeysCollection,
        volume_size: Sequence[int],
        margin: Sequence[int] | int = 0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self._join = JoinMinicubes(volume_size, margin)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Join the minicubes of all keys."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._join(d[key])
        return d


def _text(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def _not_divided(volume: torch.Tensor, spatial: Sequence[int], size: Sequence[int]) -> str:
    meta = volume.meta if isinstance(volume, MetaTensor) else {}
    file = meta.get(ImageMetaKey.FILENAME_OR_OBJ, "the volume")
    return (
        f"{file}: {_text(spatial)} voxels cannot be split into minicubes of {_text(size)}; crop and pad to a multiple "
        "of them first (CompositeCrop), or choose another size."
    )
