"""Reading and writing volumes (NIfTI, MHA, NRRD) with their geometry, and a clear word when they are damaged."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import cast

import nibabel
import numpy as np
import torch
from isal import isal_zlib
from monai.data import MetaTensor
from monai.transforms import ResampleToMatch
from monai.utils import ImageMetaKey, MetaKeys, convert_to_numpy, get_equivalent_dtype
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from pu_unet_monai.errors import UserError
from pu_unet_monai.files import atomic_path
from pu_unet_monai.readers.itk import NO_ORIENTATION, CheckedITKReader
from pu_unet_monai.readers.load_image import new_load_image
from pu_unet_monai.readers.nifti import NiftiReader

__all__ = [
    "VOLUME_SUFFIXES",
    "grid_text",
    "is_nifti",
    "read_volume",
    "resample",
    "same_grid",
    "strip_suffix",
    "to_file_voxels",
    "without_orientation",
    "write_volume",
]

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd")
"""Endings of the file names that count as volumes."""

AFFINE_TOLERANCE = 1e-3
"""In mm; headers store affines in single precision."""

_ROUNDING = 1e-6

_SMALL_INTEGERS = (torch.uint8, torch.int8, torch.int16)
"""Half the memory of float32 or less, and exact in it."""

_DAMAGED: tuple[type[Exception], ...] = (
    *(OSError, RuntimeError, ValueError, TypeError, EOFError, MemoryError, zlib.error),
    cast(type[Exception], isal_zlib.error),
    *(ImageFileError, HeaderDataError, WrapStructError),
)


def strip_suffix(path: str | os.PathLike[str]) -> str:
    """Return a volume's file name without its ending, ``.nii.gz`` counting as one."""
    name = Path(path).name
    ending = next((suffix for suffix in VOLUME_SUFFIXES if name.lower().endswith(suffix)), Path(path).suffix)
    return name[: len(name) - len(ending)]


def is_nifti(path: str | os.PathLike[str]) -> bool:
    """Tell by its name whether a file is NIfTI."""
    return str(path).lower().endswith((".nii", ".nii.gz"))


def read_volume(path: str | os.PathLike[str], dtype: type | None = None, keep_integers: bool = False) -> MetaTensor:
    """Read one file, channels first: (C, x, y, z) with the affine and the file's name.

    Args:
        path: NIfTI by nibabel, MHA (MHD) or NRRD (NHDR) by ITK.
        dtype: type of the voxels; None keeps the file's. Defaults to None.
        keep_integers: whether integers of 8 bits, or of 16 with a sign, keep their type whatever ``dtype`` says, and
            the order in memory that they have in the file. Defaults to False.

    Raises:
        UserError: if the file is missing, damaged, no volume, names voxels outside its folder, has no valid affine, or
            holds values that are NaN or infinite.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file.")
    reader = NiftiReader(squeeze_non_spatial_dims=True) if is_nifti(path) else CheckedITKReader()
    load = new_load_image(None if keep_integers else dtype)
    try:
        volume = load(path, reader=reader)
    except _DAMAGED as error:
        reason = str(error.__cause__ or error).strip().splitlines()
        raise UserError(
            f"{path}: cannot be read as a volume ({reason[0] if reason else type(error).__name__}); copy or convert "
            "it again."
        ) from error
    if volume.ndim != 4:
        raise UserError(
            f"{path}: {volume.ndim - 1} dimensions, expected a volume of 3, or of 3 and channels; convert the series "
            "into one volume."
        )
    affine = np.asarray(volume.affine)
    if not np.isfinite(affine).all() or not np.linalg.det(affine):
        raise UserError(f"{path}: its header has no valid affine; convert the series again.")
    if keep_integers and dtype is not None and volume.dtype not in _SMALL_INTEGERS:
        volume = volume.to(get_equivalent_dtype(dtype, torch.Tensor))
    if volume.is_floating_point() and not np.isfinite(volume.numpy()).all():
        raise UserError(
            f"{path}: holds values that are NaN or infinite (is the scaling in its header right?); export it again, or "
            "set them to 0."
        )
    return volume


def same_grid(first: MetaTensor, second: MetaTensor) -> bool:
    """Tell whether two volumes (C, x, y, z) have one shape and one affine."""
    return first.shape[1:] == second.shape[1:] and np.allclose(first.affine, second.affine, atol=AFFINE_TOLERANCE)


def without_orientation(volume: MetaTensor) -> str:
    """Return what a volume's header lacks, or has, so that left and right would be guessed; "" if they are known."""
    codes = [volume.meta.get(key) for key in ("sform_code", "qform_code")]
    if None not in codes and not any(codes):
        return "sform_code and qform_code are 0"
    return str(volume.meta.get(NO_ORIENTATION, ""))


def resample(volume: MetaTensor, grid: MetaTensor) -> MetaTensor:
    """Resample a volume (C, x, y, z) linearly to the grid of another; outside of it, it is 0.

    Rounding makes 1e-12 of zeros, which would count as brain where every voxel that is not 0 does: they are 0 again.
    """
    resampled = cast(MetaTensor, ResampleToMatch(mode="bilinear", padding_mode="zeros")(volume, grid))
    resampled[resampled.abs() < _ROUNDING * volume.abs().max()] = 0
    return resampled


def grid_text(volume: MetaTensor) -> str:
    """Describe the grid of a volume (C, x, y, z) for a message."""
    size = "x".join(map(str, volume.shape[1:]))
    spacing = " x ".join(f"{s:.4g}" for s in volume.pixdim.tolist())
    origin = ", ".join(f"{o:.4g}" for o in volume.affine[:3, 3].tolist())
    axes = "".join(nibabel.orientations.aff2axcodes(np.asarray(volume.affine)))
    return f"{size} voxels of {spacing} mm from ({origin}), axes {axes}"


def to_file_voxels(volume: MetaTensor) -> np.ndarray:
    """Return the matrix (4, 4) from voxels of a transformed volume to voxels of the file that it came from."""
    original = np.asarray(volume.meta[MetaKeys.ORIGINAL_AFFINE], np.float64)
    return np.linalg.inv(original) @ np.asarray(volume.affine, np.float64)


def write_volume(volume: MetaTensor, path: str | os.PathLike[str], dtype: type, description: str) -> None:
    """Write a volume in the native space of the file that it came from as NIfTI, whole or not at all.

    The affine, both of NIfTI's transforms with their codes, and the units are copied from the source where that is a
    NIfTI file, so that they are equal bit for bit.

    Args:
        volume: (C, x, y, z), inverted to the source's own grid; one channel is written as a 3D file.
        path: the file to write, ``.nii.gz`` or ``.nii``.
        dtype: type of the voxels, such as ``np.uint8``.
        description: what the file is, at most 79 characters of it fit into the header.

    Raises:
        UserError: if the volume does not have the shape of its source, or cannot be written.
    """
    source = volume.meta[ImageMetaKey.FILENAME_OR_OBJ]
    voxels = convert_to_numpy(volume).astype(dtype, copy=False)
    voxels = voxels[0] if len(voxels) == 1 else np.moveaxis(voxels, 0, -1)
    expected = tuple(int(size) for size in np.asarray(volume.meta[MetaKeys.SPATIAL_SHAPE])[:3])
    if voxels.shape[:3] != expected:
        raise UserError(f"{path}: {voxels.shape[:3]} voxels, but its source {source} has {expected}.")
    if is_nifti(source):
        affine, header = _geometry(source)
    else:
        affine, header = np.asarray(volume.meta[MetaKeys.ORIGINAL_AFFINE], np.float64), nibabel.Nifti1Header()
        header.set_sform(affine, 1)
        header.set_qform(affine, 1)
        header.set_xyzt_units("mm")
    header.set_data_dtype(dtype)
    header["descrip"] = description.encode()[:79]
    image = nibabel.Nifti1Image(voxels, None, header)
    image.header.set_slope_inter(1, 0)
    with atomic_path(path) as temporary:
        nibabel.save(image, temporary)


def _geometry(source: str | os.PathLike[str]) -> tuple[np.ndarray, nibabel.Nifti1Header]:
    """Return the affine of a NIfTI file and a header that holds its geometry and nothing else of it."""
    image = cast(nibabel.Nifti1Image, nibabel.load(source))
    header = nibabel.Nifti1Header()
    for field in ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y"):
        header[field] = image.header[field]
    for field in ("qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units"):
        header[field] = image.header[field]
    header["pixdim"][:4] = image.header["pixdim"][:4]
    return image.affine, header
