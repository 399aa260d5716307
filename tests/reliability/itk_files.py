"""Small MHA and NRRD files, written without ITK so that anything may stand in their headers."""

from __future__ import annotations

import zlib

from tests.reliability.bad_volumes import good_voxels

__all__ = ["metaimage", "nrrd", "voxel_bytes"]


def voxel_bytes() -> bytes:
    """Return the voxels, x first."""
    return good_voxels().astype("<i2").tobytes(order="F")


def metaimage(
    data: bytes | None = None, compressed: bool = False, data_file: str = "LOCAL", **changes: str | None
) -> bytes:
    """Return an MHA file, or an MHD file if ``data_file`` names another one.

    Args:
        data: what stands behind the header. Defaults to None: the voxels, if they belong there.
        compressed: whether the voxels are compressed.
        data_file: where the voxels are.
        changes: fields of the header that are another, or None to drop them.
    """
    if data is None:
        data = voxel_bytes() if data_file == "LOCAL" else b""
        data = zlib.compress(data) if compressed else data
    fields: dict[str, str | None] = {
        **{"ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False"},
        **{"CompressedData": str(compressed), "CompressedDataSize": str(len(data)) if compressed else None},
        **{"TransformMatrix": "0.6 0.8 0 -0.8 0.6 0 0 0 1", "Offset": "10 -20 30", "CenterOfRotation": "0 0 0"},
        **{"AnatomicalOrientation": "RAI", "ElementSpacing": "1 1.2 1.5", "DimSize": "20 18 16"},
        **{"ElementType": "MET_SHORT"},
        **changes,
    }
    lines = [f"{name} = {value}\n" for name, value in fields.items() if value is not None]
    return "".join([*lines, f"ElementDataFile = {data_file}\n"]).encode() + data


def nrrd(data: bytes | None = None, **changes: str | None) -> bytes:
    """Return an NRRD file.

    Args:
        data: what stands behind the header. Defaults to None: the voxels.
        changes: fields of the header that are another, or None to drop them; ``_`` stands for a blank.
    """
    fields: dict[str, str | None] = {
        **{"type": "short", "dimension": "3", "space": "left-posterior-superior", "sizes": "20 18 16"},
        **{"space directions": "(0.6,0.8,0) (-0.96,0.72,0) (0,0,1.5)", "endian": "little", "encoding": "raw"},
        **{"space origin": "(10,-20,30)"},
        **{name.replace("_", " "): value for name, value in changes.items()},
    }
    lines = [f"{name}: {value}\n" for name, value in fields.items() if value is not None]
    return "".join(["NRRD0005\n", *lines, "\n"]).encode() + (voxel_bytes() if data is None else data)
