"""MHA and NRRD files whose headers or voxels are damaged, and unusual ones that are right."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Iterator

from tests.reliability.damage import damaged
from tests.reliability.itk_files import metaimage, nrrd, voxel_bytes

__all__ = ["METAIMAGE_FIELDS", "NRRD_FIELDS", "bad_itk_volumes"]

METAIMAGE_GRID = {"TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0"}
METAIMAGE_FIELDS: dict[str, tuple[str | None, ...]] = {
    "ObjectType": (None, "Tube"),
    "NDims": (None, "0", "2", "4", "-3", "99999999999"),
    "BinaryData": (None, "False"),
    "BinaryDataByteOrderMSB": (None, "True"),
    "ElementByteOrderMSB": ("True",),
    "CompressedData": (None, "True", "maybe"),
    "TransformMatrix": (None, "1 0 0 0 1 0", "1 0 0 1 0 0 0 0 1", "0 0 0 0 0 0 0 0 0", "nan 0 0 0 1 0 0 0 1"),
    "Rotation": ("0 1 0 1 0 0 0 0 1",),
    "Offset": (None, "1 2", "nan 0 0", "inf 0 0"),
    "Origin": ("5 5 5",),
    "ElementSpacing": (None, "1 1.2", "0 1.2 1.5", "-1 1.2 1.5", "nan 1 1", "1e-30 1e-30 1e-30"),
    "DimSize": (None, "18 20 16", "20 18", "20 18 8", "20 18 32", "0 18 16", "-20 -18 16", "40000 50000 60000"),
    "ElementType": (None, "MET_USHORT", "MET_CHAR", "MET_FLOAT", "MET_SHORT_ARRAY", "MET_OTHER"),
    "ElementNumberOfChannels": ("0", "2", "4"),
    "DistanceUnits": ("mm", "um", "cm", "m"),
    "HeaderSize": ("0", "5", "-1"),
    "ElementToIntensityFunctionSlope": ("2",),
    "ElementToIntensityFunctionOffset": ("-1024",),
    "Comment": ("", "none at all"),
}
NRRD_GRID = {"space_directions": "(1,0,0) (0,1.2,0) (0,0,1.5)", "space_origin": "(0,0,0)"}
NRRD_FIELDS: dict[str, tuple[str | None, ...]] = {
    "type": (None, "ushort", "float", "block", "int8"),
    "dimension": (None, "2", "4", "-3"),
    "space": (None, "right-anterior-superior", "left-anterior-superior", "scanner-xyz", "3D-left-handed", "nowhere"),
    "sizes": (None, "18 20 16", "20 18", "20 18 8", "0 18 16", "40000 50000 60000"),
    "space_directions": (None, "none (0,1.2,0) (0,0,1.5)", "(1,0,0) (1,0,0) (0,0,1.5)", "(nan,0,0) (0,1,0) (0,0,1)"),
    "space_origin": (None, "(1,2)", "(nan,0,0)"),
    "space_units": ('"mm" "mm" "mm"', '"cm" "cm" "cm"', '"m" "m" "m"'),
    "endian": (None, "big"),
    "encoding": (None, "gzip", "bzip2", "ascii", "hex"),
    "kinds": ("domain domain domain", "list domain domain", "complex domain domain"),
    "byte_skip": ("2", "-1"),
    "line_skip": ("1",),
}


def bad_itk_volumes() -> Iterator[tuple[str, bytes]]:
    """Yield a file name and its content; each is an error, or right in shape, geometry and voxels."""
    generator = random.Random(2)
    voxels = voxel_bytes()
    good_files = {
        "raw.mha": metaimage(**METAIMAGE_GRID),
        "zlib.mha": metaimage(compressed=True, **METAIMAGE_GRID),
        "raw.nrrd": nrrd(**NRRD_GRID),
        "gzip.nrrd": nrrd(gzip.compress(voxels, mtime=0), encoding="gzip", **NRRD_GRID),
    }
    for name, good in good_files.items():
        yield f"good_{name}", good
        for damage, bad in damaged(good, generator, flips=24):
            yield f"{damage}_{name}", bad
    for field, values in METAIMAGE_FIELDS.items():
        for value in values:
            yield f"{field}_{value}.mha", metaimage(**{**METAIMAGE_GRID, field: value})
    for field, values in NRRD_FIELDS.items():
        for value in values:
            yield f"{field}_{value}.nrrd", nrrd(**{**NRRD_GRID, field: value})
    for name, stream in _streams(voxels).items():
        yield f"{name}.mha", metaimage(stream, compressed=True, **METAIMAGE_GRID)
    yield "no_size_of_the_stream.mha", metaimage(compressed=True, **METAIMAGE_GRID, CompressedDataSize=None)
    yield "twice.mha", metaimage(**METAIMAGE_GRID).replace(b"NDims", b"DimSize = 18 20 16\nNDims")
    yield "windows.mha", b"\r\n".join(metaimage(b"", **METAIMAGE_GRID).split(b"\n")) + voxels
    for number, path in enumerate(("/dev/zero", "/etc/passwd", "../a.raw", "LIST", "a%d.raw 0 1 1", "gone.raw", ".")):
        yield f"elsewhere_{number}.mha", metaimage(data_file=path, **METAIMAGE_GRID)
        yield f"elsewhere_{number}.nrrd", nrrd(b"", data_file=path, **NRRD_GRID)


def _streams(voxels: bytes) -> dict[str, bytes]:
    """Return compressed voxels that are damaged, while the size of the stream in the header is that of the stream."""
    stream = zlib.compress(voxels)
    middle = len(stream) // 2
    return {
        "stream_flipped": stream[:middle] + bytes([stream[middle] ^ 16]) + stream[middle + 1 :],
        "stream_checksum": stream[:-1] + bytes([stream[-1] ^ 1]),
        "stream_cut": stream[:-6],
        "stream_without_checksum": stream[:-4],
        "stream_of_fewer_voxels": zlib.compress(voxels[:-2]),
        "stream_of_more_voxels": zlib.compress(voxels + b"ab"),
        "stream_and_more": stream + b"more",
        "stream_bomb": zlib.compress(bytes(10_000_000)),
        "stream_gzip": gzip.compress(voxels, mtime=0),
        "stream_raw": voxels,
    }
