"""What ITK takes for voxels or geometry without a word is an error, or read as the header means it."""

from __future__ import annotations

import os
import zlib

import numpy as np
import pytest

from pu_unet_monai.errors import UserError
from pu_unet_monai.transforms import CheckBrainMRI, LoadVolume
from pu_unet_monai.volumes import read_volume, without_orientation
from tests.reliability.bad_volumes import good_voxels
from tests.reliability.itk_files import metaimage, nrrd, voxel_bytes
from tests.reliability.read_alone import read_alone
from tests.reliability.time_limit import at_most

STREAM = zlib.compress(voxel_bytes())


def assert_read(path, content):
    """Check that a file is read as its bytes say."""
    path.write_bytes(content)
    volume = read_volume(path)
    voxels, affine = read_alone(path)
    np.testing.assert_array_equal(volume.numpy(), voxels)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-9)
    return volume


def assert_refused(path, content, expected):
    path.write_bytes(content)
    with at_most(20), pytest.raises(UserError, match=expected) as error:
        read_volume(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.mha", "A.MHA", "a.mhd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_metaimages(tmp_path, name, compressed):
    (tmp_path / name).write_bytes(metaimage(compressed=compressed))
    volume = read_volume(tmp_path / name)
    assert np.array_equal(volume[0], good_voxels())
    assert np.allclose(volume.affine[:3, 0], [-0.6, -0.8, 0])
    assert np.allclose(volume.affine[:3, 3], [-10, 20, 30])
    assert without_orientation(volume) == ""


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (STREAM[:500] + bytes([STREAM[500] ^ 16]) + STREAM[501:], "compressed voxels are damaged"),
        (STREAM[:-1] + bytes([STREAM[-1] ^ 1]), "compressed voxels are damaged: .*checksum"),
        (STREAM[:-6], "compressed voxels are cut off"),
        (STREAM[:-4], "compressed voxels are cut off"),
        (zlib.compress(voxel_bytes()[:-2]), "holds 11518 bytes of voxels, expected 11520"),
        (zlib.compress(voxel_bytes() + b"x"), "holds 11521 or more bytes of voxels, expected 11520"),
        (STREAM + b"x", "bytes behind its compressed voxels"),
        (voxel_bytes(), "compressed voxels are damaged"),
        (b"", "announces 11520 bytes of voxels, more than the file can hold"),
    ],
)
def test_damaged_streams(tmp_path, stream, expected):
    """The header gives the size of each stream rightly, so that only the stream itself tells."""
    assert_refused(tmp_path / "a.mha", metaimage(stream, compressed=True), expected)
    (tmp_path / "a.zraw").write_bytes(stream)
    header = metaimage(b"", data_file="a.zraw", CompressedData="True", CompressedDataSize=str(len(stream)))
    assert_refused(tmp_path / "a.mhd", header, expected)


@pytest.mark.parametrize("more", [-2, 0, 2, 300, 1198, 3042, 2**20 + 300])
@pytest.mark.parametrize("value", [0, 1000])
def test_voxels_that_come_after_the_last_of_the_file(tmp_path, more, value):
    """What decompresses to a little more than the buffer waits in the decompressor when the file has ended."""
    number = (2**20 + more) // 2
    voxels = np.zeros(number, "<i2")
    voxels[::97] = value
    content = metaimage(zlib.compress(voxels.tobytes()), compressed=True, DimSize=f"{number} 1 1")
    (tmp_path / "a.mha").write_bytes(content)
    assert np.array_equal(read_volume(tmp_path / "a.mha")[0, :, 0, 0], voxels)


@pytest.mark.parametrize("size", ["7", None])
def test_the_size_of_the_stream(tmp_path, size):
    expected = f"CompressedDataSize = {size or 'nothing'}, expected {len(STREAM)}"
    assert_refused(tmp_path / "a.mha", metaimage(STREAM, compressed=True, CompressedDataSize=size), expected)


@pytest.mark.parametrize("wrong", [voxel_bytes()[:-1], voxel_bytes() + b"x", b""])
def test_too_few_or_too_many_voxels(tmp_path, wrong):
    expected = f"holds {len(wrong)} bytes of voxels, expected 11520 by its header"
    assert_refused(tmp_path / "a.mha", metaimage(wrong), expected)
    assert_refused(tmp_path / "a.nrrd", nrrd(wrong), expected)


def gzipped(data=None):
    packer = zlib.compressobj(wbits=31)
    return packer.compress(voxel_bytes() if data is None else data) + packer.flush()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (gzipped()[:-1] + b"\x77", "compressed voxels are damaged"),
        (gzipped()[:-9], "compressed voxels are cut off"),
        (gzipped(voxel_bytes()[:-2]), "holds 11518 bytes"),
        (gzipped(voxel_bytes() + b"ab"), "holds 11522 or more bytes"),
        (voxel_bytes(), "compressed voxels are damaged"),
        (STREAM, "compressed voxels are damaged"),
    ],
)
def test_damaged_nrrd_streams(tmp_path, stream, expected):
    assert_read(tmp_path / "good.nrrd", nrrd(gzipped(), encoding="gzip"))
    assert_refused(tmp_path / "a.nrrd", nrrd(stream, encoding="gzip"), expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"DistanceUnits": "cm"}, "DistanceUnits = cm, expected mm"),
        ({"ElementSpacing": None}, "ElementSpacing = nothing, expected 3"),
        ({"ElementSpacing": "0 1 1"}, "Zero-valued spacing"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "determinant is 0"),
        ({"Orientation": "0 1 0 1 0 0 0 0 1"}, "both TransformMatrix and Orientation"),
        ({"Offset": "1 2"}, "Offset = 1 2, expected 3"),
        ({"HeaderSize": "5"}, "HeaderSize = 5, expected 0"),
        ({"BinaryData": "False"}, "BinaryData = False, expected True"),
        ({"ElementByteOrderMSB": "True"}, "both BinaryDataByteOrderMSB and ElementByteOrderMSB"),
        ({"ElementToIntensityFunctionSlope": "2"}, "ElementToIntensityFunctionSlope = 2, expected 1"),
        ({"ElementType": "MET_SHORT_ARRAY"}, "ElementType = MET_SHORT_ARRAY, expected one of"),
        ({"NDims": "2", "DimSize": "20 288"}, "NDims = 2, expected 3 or 4"),
        ({"DimSize": "20 18 16 2"}, "DimSize = 20 18 16 2, expected 3 number"),
    ],
)
def test_metaimage_headers(tmp_path, changes, expected):
    assert_refused(tmp_path / "a.mha", metaimage(**changes), expected)


def test_letters_that_end_lines_elsewhere(tmp_path):
    """Found by the fuzz: a name that nobody knows, with a vertical tab in it."""
    assert_read(tmp_path / "a.mha", metaimage().replace(b"CenterOfRotation", b"CenterOf\x0b"))


def test_fields_twice_and_line_ends_of_windows(tmp_path):
    content = metaimage()
    twice = content.replace(b"DimSize", b"DimSize = 18 20 16\nDimSize", 1)
    assert_refused(tmp_path / "a.mha", twice, "has DimSize twice")
    windows = metaimage(b"").replace(b"\n", b"\r\n") + voxel_bytes()
    assert_refused(tmp_path / "a.mha", windows, "line ends of Windows")
    assert_refused(tmp_path / "a.mha", b"\x89PNG\r\n" + content, "has the line .*expected fields")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"space_units": '"cm" "cm" "cm"'}, "space units: .*cm.*, expected mm"),
        ({"space_units": '"m" "m" "m"'}, "space units: .*expected mm"),
        ({"space_directions": None}, "spacings: nothing, expected 3"),
        ({"space_directions": "none (0,1,0) (0,0,1)"}, "expected a vector for each axis of space"),
        ({"kinds": "complex domain domain"}, "3 axes of kinds complex domain domain"),
        ({"byte_skip": "5"}, "byte skip: 5, expected 0"),
        ({"encoding": "ascii"}, "encoding: ascii, expected raw or gzip"),
        ({"encoding": "bzip2"}, "encoding: bzip2, expected raw or gzip"),
    ],
)
def test_nrrd_headers(tmp_path, changes, expected):
    assert_refused(tmp_path / "a.nrrd", nrrd(**changes), expected)


def test_millimetres_are_what_is_expected(tmp_path):
    assert_read(tmp_path / "a.nrrd", nrrd(space_units='"mm" "mm" "mm"'))
    assert_read(tmp_path / "a.mha", metaimage(DistanceUnits="mm"))


@pytest.mark.parametrize(
    "space", ["RAS", "right-anterior-superior", "left-anterior-superior", "LAS", "left-posterior-superior", "lps"]
)
def test_spaces_of_patients(tmp_path, space):
    assert without_orientation(assert_read(tmp_path / "a.nrrd", nrrd(space=space))) == ""


STRAIGHT = {"space_directions": "(1,0,0) (0,1.2,0) (0,0,1.5)", "space_origin": "(0,0,0)"}
BARE = {"space": None, "space_directions": None, "space_origin": None, "spacings": "1 1.2 1.5"}


@pytest.mark.parametrize(
    ("name", "content", "lack"),
    [
        ("a.mha", metaimage(TransformMatrix=None), "no TransformMatrix"),
        ("a.nrrd", nrrd(**BARE), "no space directions"),
        ("a.nrrd", nrrd(**STRAIGHT, space="scanner-xyz"), "space: scanner-xyz"),
        ("a.nrrd", nrrd(**STRAIGHT, space="3D-left-handed"), "space: 3D-left-handed"),
        ("a.nrrd", nrrd(**STRAIGHT, space=None).replace(b"sizes", b"space dimension: 3\nsizes"), "no space"),
    ],
)
def test_headers_without_orientation(tmp_path, name, content, lack):
    """One of four files is enough: left and right of the others are worth nothing then."""
    volume = assert_read(tmp_path / name, content)
    assert without_orientation(volume) == lack
    files = [tmp_path / name.replace(".", f"{number}.") for number in range(4)]
    for file in files:
        straight = metaimage(TransformMatrix="1 0 0 0 1 0 0 0 1") if file.suffix == ".mha" else nrrd(**STRAIGHT)
        file.write_bytes(straight)
    CheckBrainMRI()(LoadVolume()(files))
    files[2].write_bytes(content)
    with pytest.raises(UserError, match=rf"nothing about orientation \({files[2].name}: {lack}\)"):
        CheckBrainMRI()(LoadVolume(force=True)(files))


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_all_types_have_one_channel(tmp_path, kind):
    types = {"i1": "MET_CHAR", "u1": "MET_UCHAR", "i2": "MET_SHORT", "u2": "MET_USHORT", "i4": "MET_INT"}
    types |= {"u4": "MET_UINT", "i8": "MET_LONG_LONG", "u8": "MET_ULONG_LONG", "f4": "MET_FLOAT", "f8": "MET_DOUBLE"}
    data = good_voxels().astype(f"<{kind}").tobytes(order="F")
    volume = assert_read(tmp_path / "a.mha", metaimage(data, ElementType=types[kind]))
    assert volume.shape == (1, 20, 18, 16)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("big", [False, True])
def test_numbers_of_channels(tmp_path, channels, big):
    values = np.random.default_rng(channels).integers(-900, 900, (channels, 20, 18, 16)).astype(">i2" if big else "<i2")
    data = values.tobytes(order="F")
    content = metaimage(data, ElementNumberOfChannels=str(channels), BinaryDataByteOrderMSB=str(big))
    assert np.array_equal(assert_read(tmp_path / "a.mha", content), values)
    for axis in range(4):
        order = np.moveaxis(values, 0, axis)
        kinds, vectors = ["domain"] * 3, ["(1,0,0)", "(0,1.2,0)", "(0,0,1.5)"]
        kinds.insert(axis, "list")
        vectors.insert(axis, "none")
        changes = {"sizes": " ".join(map(str, order.shape)), "kinds": " ".join(kinds)}
        changes |= {"space_directions": " ".join(vectors), "endian": "big" if big else "little", "dimension": "4"}
        content = nrrd(order.tobytes(order="F"), **changes)
        assert np.array_equal(assert_read(tmp_path / "a.nrrd", content), values)


def test_a_fourth_axis(tmp_path):
    values = np.random.default_rng(0).integers(-900, 900, (20, 18, 16, 3)).astype("<i2")
    changes = {"NDims": "4", "DimSize": "20 18 16 3", "Offset": "1 2 3 4", "ElementSpacing": "1 1.2 1.5 9"}
    changes |= {"CenterOfRotation": "0 0 0 0", "TransformMatrix": "0 1 0 0 1 0 0 0 0 0 1 0 0 0 0 1"}
    volume = assert_read(tmp_path / "a.mha", metaimage(values.tobytes(order="F"), **changes))
    assert np.array_equal(volume, np.moveaxis(values, -1, 0))
    changes["TransformMatrix"] = "0 0 0 1 0 1 0 0 0 0 1 0 1 0 0 0"
    assert_refused(tmp_path / "a.mha", metaimage(values.tobytes(order="F"), **changes), "fourth axis into space")


def test_voxels_in_a_file_beside(tmp_path):
    (tmp_path / "v.raw").write_bytes(voxel_bytes())
    (tmp_path / "v.zraw").write_bytes(STREAM)
    for name in ("a.mhd", "a.mha"):
        assert_read(tmp_path / name, metaimage(data_file="v.raw"))
        assert_read(tmp_path / name, metaimage(data_file="v.zraw", CompressedData="True"))
    for name in ("a.nhdr", "a.nrrd"):
        assert_read(tmp_path / name, nrrd(b"", data_file="v.raw"))


@pytest.mark.parametrize(
    "place", ["../v.raw", "in/v.raw", "ABSOLUTE", "LIST", "v%d.raw 1 1 1", "fifo", "/dev/zero", "in"]
)
def test_voxels_elsewhere(tmp_path, place):
    """A pipe or a device would never end."""
    folder = tmp_path / "folder"
    (folder / "in").mkdir(parents=True)
    for file in (tmp_path / "v.raw", folder / "v1.raw", folder / "in" / "v.raw"):
        file.write_bytes(voxel_bytes())
    os.mkfifo(folder / "fifo")
    name = place.replace("ABSOLUTE", str(tmp_path / "v.raw"))
    lines = b"v1.raw\n" if place == "LIST" else b""
    expected = "expected an ordinary file beside it"
    assert_refused(folder / "a.mha", metaimage(lines, data_file=name), expected)
    assert_refused(folder / "a.mhd", metaimage(lines, data_file=name), expected)
    assert_refused(folder / "a.nrrd", nrrd(b"", data_file=name), expected)


def test_other_endings_are_no_volumes(tmp_path):
    assert_refused(
        tmp_path / "a.vtk", metaimage(), r"expected a file whose name ends with .nii.gz, .nii, .mha or .nrrd"
    )
