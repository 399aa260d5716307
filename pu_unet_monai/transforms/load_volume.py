"""Loading the four modalities of a brain MRI, from one file or from four."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from monai.config import KeysCollection, PathLike
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import ensure_tuple

from pu_unet_monai.data.case_name import name_of_files
from pu_unet_monai.data.modalities import MODALITIES, modality_of
from pu_unet_monai.data.volume_cases import find_volume_cases
from pu_unet_monai.errors import UserError
from pu_unet_monai.readers.itk import NO_ORIENTATION
from pu_unet_monai.volumes import grid_text, read_volume, resample, same_grid, strip_suffix, without_orientation

__all__ = ["LoadVolume", "LoadVolumed"]


class LoadVolume(Transform):
    """Load a volume of several channels: one file that holds all of them, a file a channel, or one of the latter.

    Of a file that is named by its modality the three others are looked for beside it: a viewer such as 3D Slicer knows
    one image at a time.

    Args:
        channels: how many channels there must be. Defaults to 4.
        dtype: type of the voxels; None keeps the file's. Defaults to float32.
        force: whether files on different grids are resampled to the grid of the first, instead of refused; what was
            done is noted in ``meta["forced"]``. Defaults to False.
        keep_integers: whether small integers keep their type all the same, for half the memory and time, see
            :func:`~pu_unet_monai.volumes.read_volume`. Defaults to False.
    """

    def __init__(
        self,
        channels: int = 4,
        dtype: type | None = np.float32,
        force: bool = False,
        keep_integers: bool = False,
    ) -> None:
        self.channels = channels
        self.dtype = dtype
        self.force = force
        self.keep_integers = keep_integers

    def __call__(self, paths: PathLike | Sequence[PathLike], channel_order: Sequence[int] | None = None) -> MetaTensor:
        """Load the volume.

        Args:
            paths: one file, or one for each channel, in the order of the channels; or that of one modality.
            channel_order: which channel of the file comes first, second and so on. Defaults to None: as in the file.

        Returns:
            (C, x, y, z) with affine and name of the (first) file.

        Raises:
            UserError: if a file cannot be read, the number or order of channels is wrong, or the grids differ.
        """
        files = self._with_siblings(list(ensure_tuple(paths)))
        volumes = [read_volume(path, self.dtype, self.keep_integers) for path in files]
        found = sum(len(volume) for volume in volumes)
        if found != self.channels or (len(volumes) > 1 and any(len(volume) != 1 for volume in volumes)):
            raise UserError(
                f"{_names(files)}: {found} channel(s), expected {self.channels}"
                f"{' (FLAIR, T1w, T1gd, T2w)' if self.channels == 4 else ''}; give one 4D file or four 3D files."
            )
        if channel_order is not None and sorted(channel_order) != list(range(self.channels)):
            raise UserError(
                f"{_names(files)}: channel_order {list(channel_order)}, expected each of 0 to {self.channels - 1} "
                "once; mend the datalist."
            )
        volume = volumes[0] if len(volumes) == 1 else self._stack(volumes, files)
        volume.meta["case"] = name_of_files(files)
        return cast(MetaTensor, volume[list(channel_order)]) if channel_order is not None else volume

    def _with_siblings(self, files: list[PathLike]) -> list[PathLike]:
        """Return the files of all modalities if one of them is given."""
        if self.channels != len(MODALITIES) or len(files) > 1 or modality_of(strip_suffix(files[0])) is None:
            return files
        cases, problems = find_volume_cases(Path(files[0]))
        if problems and len(read_volume(files[0])) != self.channels:
            raise UserError(f"{files[0]}: {problems[0]}.")
        return list(cases[0].images) if cases else files

    def _stack(self, volumes: list[MetaTensor], files: Sequence[PathLike]) -> MetaTensor:
        first = volumes[0]
        named = [(Path(file).name, without_orientation(volume)) for file, volume in zip(files, volumes, strict=True)]
        lacks = [f"{name}: {lack}" for name, lack in named if lack]
        others = [i for i, volume in enumerate(volumes) if not same_grid(first, volume)]
        forced = []
        if others:
            different = ", ".join(f"{Path(files[i]).name} has {grid_text(volumes[i])}" for i in others)
            reason = f"modalities lie on different grids: {Path(files[0]).name} has {grid_text(first)}, {different}"
            if not self.force:
                raise UserError(f"{reason}; co-register and resample them to one grid, or use --force.")
            forced.append(reason)
            for i in others:
                volumes[i] = resample(cast(MetaTensor, volumes[i].to(torch.float32)), first)
        # NIfTI lies in memory with x first, of which PyTorch would make another order, slowly
        reversed_axes = (0, 3, 2, 1)
        joined = torch.cat([volume.as_tensor().permute(reversed_axes) for volume in volumes])
        stacked = MetaTensor(joined.permute(reversed_axes), meta=first.meta)
        stacked.meta["forced"] = forced
        stacked.meta[NO_ORIENTATION] = ", ".join(lacks)
        return stacked


def _names(files: Sequence[PathLike]) -> str:
    return ", ".join(map(str, files))


class LoadVolumed(MapTransform):
    """Dictionary form of :class:`LoadVolume`; ``channel_order`` of the item, if any, orders the channels of its image.

    Args:
        keys: the keys to load.
        channels: see :class:`LoadVolume`. Defaults to 4.
        dtype: see :class:`LoadVolume`. Defaults to float32.
        force: see :class:`LoadVolume`. Defaults to False.
        allow_missing_keys: whether keys may be missing. Defaults to False.
        keep_integers: see :class:`LoadVolume`. Defaults to False.
    """

    def __init__(
        self,
        keys: KeysCollection,
        channels: int = 4,
        dtype: type | None = np.float32,
        force: bool = False,
        allow_missing_keys: bool = False,
        keep_integers: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self._load = LoadVolume(channels, dtype, force, keep_integers)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Load the volumes of all keys."""
        d = dict(data)
        for key in self.key_iterator(d):
            order = d.get("channel_order") if self._load.channels > 1 else None
            d[key] = self._load(d[key], order)
        return d
