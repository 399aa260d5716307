"""Reading DICOM series: geometry, order, compression, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless, generate_uid

from data_prep.dicom_layout import write_study
from pu_unet_monai.data.modalities import MODALITIES
from pu_unet_monai.dicom.read import read_series
from pu_unet_monai.dicom.series import Series, find_series
from pu_unet_monai.dicom.study import find_studies
from pu_unet_monai.errors import UserError
from tests.dicom.conftest import DESCRIPTIONS, LPS, oblique


def one_series(folder: Path) -> Series:
    (series,), _ = find_series(folder)
    return series


@pytest.fixture
def written(tmp_path, head):
    """A folder with one oblique series."""
    write_study(tmp_path / "study", "P1", {"AX FLAIR": head[..., 0]}, oblique())
    return tmp_path / "study"


def change(path: Path, **values: object) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def slices(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.dcm"))


@pytest.mark.parametrize("affine", [LPS, oblique()], ids=["LPS", "oblique"])
def test_voxels_and_affine_come_back(affine, head, tmp_path):
    write_study(tmp_path, "P1", {"AX FLAIR": head[..., 0]}, affine)
    volume = read_series(one_series(tmp_path)).to_tensor()
    assert volume.shape == (1, *head.shape[:3])
    assert np.array_equal(volume[0].numpy(), head[..., 0])
    assert np.allclose(volume.affine, affine, atol=1e-5)


def test_order_and_names_of_files_do_not_matter(written, head):
    paths = slices(written)
    for number, path in enumerate(np.random.default_rng(0).permutation(paths)):
        Path(path).rename(written / f"IM{number}")
    assert np.array_equal(read_series(one_series(written)).to_tensor()[0].numpy(), head[..., 0])


def test_slope_and_intercept_of_each_slice_are_applied(written, head):
    for index, path in enumerate(slices(written)):
        change(path, RescaleSlope=str(2.0 + index), RescaleIntercept="-5")
    expected = head[..., 0] * (2.0 + np.arange(head.shape[2])) - 5
    assert np.allclose(read_series(one_series(written)).to_tensor()[0].numpy(), expected)


@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1], ids=lambda s: s.name
)
def test_compressed_pixels_are_decoded(syntax, written, head):
    gdcm = pytest.importorskip("gdcm", reason="python-gdcm is not installed (extra dicom)")
    kinds = {
        RLELossless: gdcm.TransferSyntax.RLELossless,
        JPEGLSLossless: gdcm.TransferSyntax.JPEGLSLossless,
        JPEG2000Lossless: gdcm.TransferSyntax.JPEG2000Lossless,
        JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    }
    for path in slices(written):
        reader, writer, change_syntax = gdcm.ImageReader(), gdcm.ImageWriter(), gdcm.ImageChangeTransferSyntax()
        reader.SetFileName(str(path))
        assert reader.Read()
        change_syntax.SetTransferSyntax(gdcm.TransferSyntax(kinds[syntax]))
        change_syntax.SetInput(reader.GetImage())
        assert change_syntax.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change_syntax.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()
    assert pydicom.dcmread(slices(written)[0]).file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read_series(one_series(written)).to_tensor()[0].numpy(), head[..., 0])


def test_broken_compressed_pixels_are_named(written):
    for path in slices(written):
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.PixelData = dataset.PixelData[:80]
        dataset.save_as(path)
    with pytest.raises(UserError, match=r"AX FLAIR.*cannot be decoded.*RLE Lossless") as caught:
        read_series(one_series(written))
    assert "\n" not in str(caught.value)


def test_inverted_display_does_not_invert_what_was_measured(written, head):
    for path in slices(written):
        change(path, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    assert np.array_equal(read_series(one_series(written)).to_tensor()[0].numpy(), head[..., 0])


@pytest.mark.parametrize(("shear", "refused"), [(0.0, False), (0.01, False), (0.1, True)])
def test_tilt(shear, refused, tmp_path, head):
    write_study(tmp_path, "P1", {"AX FLAIR": head[..., 0]}, LPS)
    for index, path in enumerate(slices(tmp_path)):
        x, y, z = pydicom.dcmread(path).ImagePositionPatient
        change(path, ImagePositionPatient=[f"{float(x) + shear * index:.4f}", y, z])
    if refused:
        with pytest.raises(UserError, match="not stacked along their normal"):
            read_series(one_series(tmp_path))
    else:
        assert read_series(one_series(tmp_path)).to_tensor().shape == (1, *head.shape[:3])


@pytest.mark.parametrize("keyword", ["ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"])
def test_slices_without_a_place_are_named(keyword, written):
    change(slices(written)[3], **{keyword: None})
    with pytest.raises(UserError, match=f"slices without {keyword}"):
        read_series(one_series(written))


def test_missing_slices_are_counted_and_placed(written):
    for index in (7, 8, 15):
        slices(written)[index if index < 9 else index - 2].unlink()
    with pytest.raises(UserError, match=r"3 slice\(s\) missing, at \[.*\], \[.*\], \[.*\] mm"):
        read_series(one_series(written))


def test_place_of_a_missing_slice(tmp_path, head):
    write_study(tmp_path, "P1", {"AX FLAIR": head[..., 0]}, LPS)
    slices(tmp_path)[10].unlink()
    with pytest.raises(UserError, match=r"1 slice\(s\) missing, at \[-12.5, -40.2, 2.5\] mm"):
        read_series(one_series(tmp_path))


def test_copies_of_slices_count_once(written, head):
    for path in slices(written)[3:6]:
        shutil.copy(path, path.with_name(f"copy_{path.name}"))
    change(slices(written)[-1], SOPInstanceUID=generate_uid())  # exported under another UID
    found = read_series(one_series(written))
    assert np.array_equal(found.to_tensor()[0].numpy(), head[..., 0])
    assert "3 slice(s) there twice" in found.notes[0]


def test_different_slices_in_one_place_are_refused(written):
    path = slices(written)[3]
    echo = pydicom.dcmread(path)
    echo.PixelData = bytes(len(echo.PixelData))
    echo.SOPInstanceUID = generate_uid()
    echo.save_as(path.with_name("echo.dcm"))
    with pytest.raises(UserError, match="27 different slices in 26 places"):
        read_series(one_series(written))


def test_mixed_orientations_are_refused(written):
    for path in slices(written)[:5]:
        change(path, ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    with pytest.raises(UserError, match="slices in 2 orientations, expected one"):
        read_series(one_series(written))


def test_uneven_slices_are_refused(written):
    dataset = pydicom.dcmread(slices(written)[4])
    moved = np.array(dataset.ImagePositionPatient, float) + [0.3, 0.1, 0.4]
    change(slices(written)[4], ImagePositionPatient=[f"{value:.5f}" for value in moved])
    with pytest.raises(UserError, match=r"not stacked along their normal|not evenly spaced"):
        read_series(one_series(written))


def test_slices_of_several_sizes_are_refused(written):
    dataset = pydicom.dcmread(slices(written)[0])
    dataset.Rows -= 1
    dataset.PixelData = dataset.PixelData[: dataset.Rows * dataset.Columns * 2]
    dataset.save_as(slices(written)[0])
    with pytest.raises(UserError, match="slices of different sizes"):
        read_series(one_series(written))


def test_single_slice_and_colour_are_refused(written):
    change(slices(written)[0], PhotometricInterpretation="RGB")
    with pytest.raises(UserError, match="expected grey values"):
        read_series(one_series(written))
    for path in slices(written)[1:]:
        path.unlink()
    change(slices(written)[0], PhotometricInterpretation="MONOCHROME2")
    with pytest.raises(UserError, match="one slice, expected a volume"):
        read_series(one_series(written))


def test_truncated_file_is_named(written):
    path = slices(written)[2]
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match="AX FLAIR"):
        read_series(one_series(written))


def test_multi_frame_object_is_read(written, head, tmp_path):
    from highdicom.legacy import LegacyConvertedEnhancedMRImage

    datasets = [pydicom.dcmread(path) for path in slices(written)]
    enhanced = LegacyConvertedEnhancedMRImage(datasets, generate_uid(), 9, generate_uid(), 1)
    (tmp_path / "enhanced").mkdir()
    enhanced.save_as(tmp_path / "enhanced" / "image.dcm")
    volume = read_series(one_series(tmp_path / "enhanced")).to_tensor()
    assert np.array_equal(volume[0].numpy(), head[..., 0])
    assert np.allclose(volume.affine, oblique(), atol=1e-4)


def test_what_is_no_image_is_left_aside(written, tmp_path):
    (written / "README.txt").write_text("hello")
    broken = written / "broken.dcm"
    broken.write_bytes(bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI")
    series, aside = find_series(written)
    assert len(series) == 1
    assert len(aside) == 2
    assert any("README.txt: no DICOM file" in line for line in aside)


@pytest.mark.real_data
def test_the_real_series(data_dir):
    series = one_series(data_dir / "dicom_mr_series")
    volume = read_series(series).to_tensor()
    assert volume.shape == (1, 88, 128, 17)
    assert np.allclose(volume.pixdim, 2.0)
    header = pydicom.dcmread(data_dir / "dicom_mr_series" / "IMG0005.dcm")
    position = np.array(header.ImagePositionPatient, float) * [-1, -1, 1]  # to RAS
    x, y, z = np.rint((np.linalg.inv(np.asarray(volume.affine)) @ [*position, 1])[:3]).astype(int)
    assert (x, y) == (0, 0)
    assert np.array_equal(volume[0, :, :, z].numpy(), header.pixel_array.T)


@pytest.mark.real_data
def test_a_real_head_as_four_series(data_dir, tmp_path):
    import nibabel

    folder = data_dir / "BraTS2021" / "BraTS2021_01476"
    names = {"FLAIR": "flair", "T1w": "t1", "T1gd": "t1ce", "T2w": "t2"}
    images = {modality: nibabel.load(folder / f"{folder.name}_{name}.nii.gz") for modality, name in names.items()}
    affine = images["FLAIR"].affine
    series = dict(zip(DESCRIPTIONS, (np.asarray(image.dataobj, np.int16) for image in images.values()), strict=True))
    write_study(tmp_path, folder.name, series, affine)
    (study,), problems, aside = find_studies(tmp_path, MODALITIES, {}, identified=True)
    assert (study.name, problems, aside) == (f"{folder.name}_20260101", [], [])
    for modality, image in images.items():
        volume = read_series(study.series[modality]).to_tensor()
        assert np.array_equal(volume[0].numpy(), np.asarray(image.dataobj))
        assert np.allclose(volume.affine, affine)
