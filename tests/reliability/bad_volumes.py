"""NIfTI files whose headers or voxels are damaged, and unusual ones that are right."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator

import nibabel
import numpy as np

from tests.reliability.damage import damaged

__all__ = ["AFFINE", "bad_volumes", "good_voxels"]

SHAPE = (20, 18, 16)
AFFINE = np.diag([-1.0, -1.2, 1.5, 1.0])

_FIELDS: dict[str, tuple[object, ...]] = {
    "sizeof_hdr": (0, -348, 540),
    "datatype": (0, 1, 128, 1792, 9999, -1),
    "bitpix": (0, 8, -16),
    "vox_offset": (0.0, -1.0, 353.0, 1e9, np.nan),
    "scl_slope": (0.0, np.nan, np.inf, -1.0, 1e38),
    "scl_inter": (np.nan, np.inf, 1e38),
    "qform_code": (-1, 99),
    "sform_code": (-1, 99),
    "xyzt_units": (0, 1, 3, 255),
    "magic": (b"", b"ni1", b"xxx"),
    "slice_code": (99,),
    "intent_code": (-5, 1005),
}
_DIMENSIONS = ((0, 1, 1, 1, 1, 1, 1, 1), (8, 20, 18, 16, 1, 1, 1, 1), (3, -20, 18, 16, 1, 1, 1, 1))
_DIMENSIONS += ((3, 0, 18, 16, 1, 1, 1, 1), (3, 32767, 32767, 32767, 1, 1, 1, 1), (2, 20, 18, 1, 1, 1, 1, 1))
_DIMENSIONS += ((4, 20, 18, 4, 4, 1, 1, 1), (5, 20, 18, 4, 2, 2, 1, 1), (3, 16, 18, 20, 1, 1, 1, 1))
_DIMENSIONS += ((3, 40, 36, 32, 1, 1, 1, 1), (1, 5760, 1, 1, 1, 1, 1, 1), (-3, 20, 18, 16, 1, 1, 1, 1))
_AFFINES = {
    "zeros": np.zeros((3, 4)),
    "nan": np.full((3, 4), np.nan),
    "infinite": np.full((3, 4), np.inf),
    "flat": np.diag([1.0, 1, 0, 1])[:3],
    "same_axes": np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]]),
    "tiny": np.diag([1e-30, 1e-30, 1e-30, 1])[:3],
    "huge": np.diag([1e30, 1e30, 1e30, 1])[:3],
    "sheared": np.array([[1.0, 0.5, 0, 0], [0, 1, 0.3, 0], [0, 0, 1, 0]]),
    "far_away": np.array([[1.0, 0, 0, 1e7], [0, 1, 0, 0], [0, 0, 1, 0]]),
}


def good_voxels(seed: int = 0) -> np.ndarray:
    """Return int16 voxels of a ball in air."""
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in SHAPE), indexing="ij"), -1)
    ball = np.linalg.norm(grid - np.array(SHAPE) / 2, axis=-1) < 6
    noise = np.random.default_rng(seed).integers(80, 120, SHAPE)
    return np.where(ball, noise, 0).astype(np.int16)


def bad_volumes() -> Iterator[tuple[str, bytes]]:
    """Yield a file name and its content; each is an error, or right in shape and geometry."""
    generator = random.Random(1)
    good = nibabel.Nifti1Image(good_voxels(), AFFINE).to_bytes()
    zipped = gzip.compress(good, mtime=0)
    for name, bad in damaged(good, generator, flips=30):
        yield f"nii_{name}.nii", bad
    for name, bad in damaged(zipped, generator, flips=12):
        yield f"gz_{name}.nii.gz", bad
    yield "not_zipped.nii.gz", good
    yield "zipped.nii", zipped
    yield "zipped_twice.nii.gz", gzip.compress(zipped, mtime=0)
    yield "two_files.nii.gz", zipped + zipped
    yield "more_behind.nii", good + bytes(100)
    for field, values in _FIELDS.items():
        for value in values:
            yield f"{field}_{value!r}.nii".replace("'", ""), _with(good, field, value)
    for number, dimensions in enumerate(_DIMENSIONS):
        yield f"dim_{number}.nii", _with(good, "dim", dimensions)
    for number, pixdim in enumerate(([0.0] * 8, [np.nan] * 8, [1, -1, -1, -1, 0, 0, 0, 0], [np.inf] * 8, [1e-9] * 8)):
        yield f"pixdim_{number}.nii", _with(good, "pixdim", pixdim)
    for name, rows in _AFFINES.items():
        sizes = np.linalg.norm(rows[:, :3], axis=0)
        yield f"affine_{name}.nii", _with_affine(good, rows)
        yield f"affine_and_pixdim_{name}.nii", _with(_with_affine(good, rows), "pixdim", [1, *sizes, 0, 0, 0, 0])
    for kind in (np.uint8, np.uint16, np.int32, np.uint64, np.float32, np.float64, np.complex64):
        voxels = good_voxels().astype(kind)
        yield f"type_{kind.__name__}.nii", nibabel.Nifti1Image(voxels, AFFINE, dtype=kind).to_bytes()
    for name, value in (("nan", np.nan), ("infinite", np.inf), ("huge", 3e38)):
        voxels = good_voxels().astype(np.float32)
        voxels[10, 9, 8] = value
        yield f"voxel_{name}.nii", nibabel.Nifti1Image(voxels, AFFINE).to_bytes()
    yield "all_zero.nii", nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), AFFINE).to_bytes()
    yield "all_one.nii", nibabel.Nifti1Image(np.ones(SHAPE, np.int16), AFFINE).to_bytes()
    yield "one_voxel.nii", nibabel.Nifti1Image(np.ones((1, 1, 1), np.int16), AFFINE).to_bytes()


def _with(content: bytes, field: str, value: object) -> bytes:
    """Return a NIfTI file with another value in a field of its header."""
    header = np.frombuffer(content[:348], nibabel.Nifti1Header.template_dtype).copy()
    header[field] = value
    return header.tobytes() + content[348:]


def _with_affine(content: bytes, rows: np.ndarray) -> bytes:
    changed = _with(_with(content, "sform_code", 1), "qform_code", 0)
    for name, row in zip(("srow_x", "srow_y", "srow_z"), rows, strict=True):
        changed = _with(changed, name, row)
    return changed
