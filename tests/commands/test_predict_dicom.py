"""``python -m pu_unet_monai predict`` on DICOM series: to a NIfTI label map and a DICOM segmentation."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from data_prep.volume_phantom_scene import paint_head
from pu_unet_monai.__main__ import main
from pu_unet_monai.data.modalities import MODALITIES
from pu_unet_monai.networks.nets import PUUNet
from pu_unet_monai.volumes import resample
from tests.bundles.conftest import child_environment
from tests.commands.conftest import network
from tests.conftest import PYTHON

hd = pytest.importorskip("highdicom", reason="highdicom is not installed (extra dicom)")
pydicom = pytest.importorskip("pydicom")

from data_prep.dicom_layout import write_study  # noqa: E402, needs pydicom
from tests.dicom.conftest import DESCRIPTIONS, LPS, oblique  # noqa: E402

SHAPE = (40, 44, 36)


@pytest.fixture(scope="module")
def head():
    return paint_head(np.random.default_rng(7), SHAPE, True)[0]


def write(folder: Path, head: np.ndarray, affine: np.ndarray = LPS, name: str = "P1", names=DESCRIPTIONS) -> Path:
    write_study(folder / name, name, {text: head[..., i] for i, text in enumerate(names)}, affine)
    return folder


def predict(bundle: Path, source: Path, output: Path, *options: str) -> int:
    """With names that say which study is which, and without the choice of a runtime, which takes seconds each time."""
    places = ["--bundle", str(bundle), "--input", str(source), "--output", str(output)]
    named = [] if source.suffix == ".nii" else ["--patient-ids"]
    return main(["predict", *places, *named, "--runtime", "eager", *options])


def report(output: Path) -> dict:
    return json.loads((output / "report.json").read_text())


def labels_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nibabel.load(path)
    return np.asarray(image.dataobj), image.affine


def on_grid(volume: np.ndarray, affine: np.ndarray, grid: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The labels of a volume, carried by their places in RAS to the voxels of another grid."""
    carried = np.zeros(shape, volume.dtype)
    indices = np.argwhere(volume)
    found = (np.linalg.inv(grid) @ affine @ np.c_[indices, np.ones(len(indices))].T).T[:, :3]
    assert np.abs(found - np.rint(found)).max() < 1e-3
    carried[tuple(np.rint(found).astype(int).T)] = volume[tuple(indices.T)]
    return carried


@pytest.mark.parametrize("affine", [LPS, oblique()], ids=["LPS", "oblique"])
@pytest.mark.parametrize("numbering", ["brats", "decathlon"])
def test_study_gives_what_nifti_gives_and_a_segmentation_in_the_same_place(affine, numbering, bundle, head, tmp_path):
    write(tmp_path / "dicom", head, affine)
    for path in sorted((tmp_path / "dicom").rglob("*.dcm")):  # all in one folder, as archives send them
        path.rename(tmp_path / "dicom" / f"{path.parent.name}{path.name}")
    nibabel.save(nibabel.Nifti1Image(head, affine), tmp_path / "P1.nii")
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out", "--numbering", numbering) == 0
    assert predict(bundle, tmp_path / "P1.nii", tmp_path / "nifti", "--numbering", numbering) == 0
    found, found_affine = labels_of(tmp_path / "out" / "P1_20260101_seg.nii.gz")
    expected, expected_affine = labels_of(tmp_path / "nifti" / "P1_seg.nii.gz")
    assert set(np.unique(found)) == {0, 1, 2, 3}
    assert np.allclose(found_affine, expected_affine, atol=1e-4)
    assert np.array_equal(found, expected)

    segmentation = hd.seg.segread(tmp_path / "out" / "P1_20260101_seg.dcm")
    volume = segmentation.get_volume(combine_segments=True)
    assert np.array_equal(on_grid(volume.array, volume.get_affine("RAS"), found_affine, found.shape), found)
    check_references(segmentation, (tmp_path / "dicom").glob("1_*"))
    codes = {
        item.SegmentLabel: item.SegmentedPropertyTypeCodeSequence[0].CodeValue for item in segmentation.SegmentSequence
    }
    assert codes == {"non-enhancing core": "C81175", "edema": "79654002", "enhancing tumour": "C113842"}
    first = {"brats": "non-enhancing core", "decathlon": "edema"}[numbering]
    assert segmentation.get_segment_description(1).segment_label == first
    assert str(segmentation.PatientID) == "P1"


def check_references(segmentation: pydicom.Dataset, sources: Iterable[Path]) -> None:
    """Each frame refers to the one source slice that lies where the frame lies."""
    places = {str(found.SOPInstanceUID): found.ImagePositionPatient for found in map(pydicom.dcmread, sources)}
    assert len(segmentation.PerFrameFunctionalGroupsSequence) > 10
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        assert np.allclose(np.array(places[str(source.ReferencedSOPInstanceUID)], float), place, atol=1e-6)


@pytest.mark.parametrize("decimals", [2, 3])
def test_rounded_positions_still_lead_to_the_source(decimals, bundle, head, tmp_path):
    write(tmp_path / "dicom", head, oblique())
    for path in (tmp_path / "dicom").rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.ImagePositionPatient = [f"{float(value):.{decimals}f}" for value in dataset.ImagePositionPatient]
        dataset.ImageOrientationPatient = [f"{float(value):.4f}" for value in dataset.ImageOrientationPatient]
        dataset.save_as(path)
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 0
    segmentation = hd.seg.segread(tmp_path / "out" / "P1_20260101_seg.dcm")
    check_references(segmentation, (tmp_path / "dicom" / "P1" / "1_AX_FLAIR").iterdir())


@pytest.mark.parametrize("plane", ["sagittal", "coronal"])
def test_a_series_in_another_plane_on_the_same_grid_changes_nothing(plane, bundle, head, tmp_path):
    """Resampling to the same places must not make brain of background by rounding."""
    order = {"sagittal": [1, 2, 0], "coronal": [0, 2, 1]}[plane]
    volumes = {text: head[..., i] for i, text in enumerate(DESCRIPTIONS)}
    write_study(tmp_path / "mixed" / "a", "P1", {"AX T1": volumes["AX T1"]}, LPS)
    turned = LPS[:, [*order, 3]]
    write_study(tmp_path / "mixed" / "b", "P1", {"FLAIR": volumes["AX FLAIR"].transpose(order)}, turned)
    write_study(tmp_path / "mixed" / "c", "P1", {name: volumes[name] for name in ("AX T1 POST", "AX T2")}, LPS)
    nibabel.save(nibabel.Nifti1Image(head, LPS), tmp_path / "P1.nii")
    assert predict(bundle, tmp_path / "mixed", tmp_path / "out") == 0
    assert predict(bundle, tmp_path / "P1.nii", tmp_path / "nifti") == 0
    found, affine = labels_of(tmp_path / "out" / "P1_20260101_seg.nii.gz")
    expected, grid = labels_of(tmp_path / "nifti" / "P1_seg.nii.gz")
    assert np.array_equal(on_grid(found, affine, grid, expected.shape), expected)
    assert report(tmp_path / "out")["cases"][0]["grid_of"] == "FLAIR"


def test_resampled_values_are_linear_between_slices(head):
    """A series of every second slice has, between two of its slices, their mean."""
    thick = LPS.copy()
    thick[2, 2] = 2.0
    fine = MetaTensor(torch.zeros(1, *SHAPE), affine=LPS)
    coarse = MetaTensor(torch.from_numpy(head[None, :, :, ::2, 0].astype(np.float32)), affine=thick)
    found = resample(coarse, fine)[0].numpy()
    assert np.allclose(found[:, :, ::2], head[:, :, ::2, 0], atol=1e-2)
    assert np.allclose(found[:, :, 17], (head[:, :, 16, 0] + head[:, :, 18, 0]) / 2, atol=1e-2)


def test_series_that_ends_early_is_refused_unless_forced(bundle, head, tmp_path, capsys):
    write(tmp_path / "dicom", head)
    for path in sorted((tmp_path / "dicom" / "P1" / "3_AX_T1_POST").iterdir())[24:]:
        path.unlink()
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 1
    assert "T1gd does not reach" in capsys.readouterr().out
    assert not list((tmp_path / "out").glob("P1*"))
    assert predict(bundle, tmp_path / "dicom", tmp_path / "forced", "--force") == 0
    assert "T1gd does not reach" in report(tmp_path / "forced")["cases"][0]["forced"][0]


def edit(folder: Path, **values: str | None) -> None:
    for path in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(path)


@pytest.mark.parametrize(
    ("series", "values", "message"),
    [
        ("P1", {"Modality": "CT"}, "no series of MR images found in it or below; left aside: series 1"),
        ("P1/2_AX_T1", {"PatientID": "P2"}, "has images of 2 patients"),
        ("P1/2_AX_T1", {"Modality": "CT"}, "has no T1w; it has series 1"),
    ],
)
def test_what_does_not_belong_together_is_refused(series, values, message, bundle, head, tmp_path, capsys):
    write(tmp_path / "dicom", head)
    edit(tmp_path / "dicom" / series, **values)
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 2
    assert message in capsys.readouterr().err


def test_images_of_two_patients_in_one_series_are_refused(bundle, head, tmp_path, capsys):
    write(tmp_path / "dicom", head)
    for path in sorted((tmp_path / "dicom" / "P1" / "2_AX_T1").glob("*.dcm"))[1::2]:
        dataset = pydicom.dcmread(path)
        dataset.PatientID = "P2"
        dataset.save_as(path)
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 2
    assert "has images of 2 patients; give the folder of one" in capsys.readouterr().err


def test_what_may_be_empty_may_be_missing(bundle, head, tmp_path):
    write(tmp_path / "dicom", head)
    edit(tmp_path / "dicom", PatientBirthDate=None, AccessionNumber=None, PatientName=None, PatientID=None)
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 0
    (path,) = (tmp_path / "out").glob("*_seg.dcm")
    assert path.name.removesuffix("_seg.dcm") == str(pydicom.dcmread(path).StudyInstanceUID)


def test_values_of_another_form_are_left_out_of_the_segmentation(bundle, head, tmp_path):
    write(tmp_path / "dicom", head)
    wrong = {"PatientBirthDate": "1951-04-23", "PatientSex": "SECRET", "StudyTime": "noon"}
    with pydicom.config.disable_value_validation():
        edit(tmp_path / "dicom", **wrong)
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 0
    (path,) = (tmp_path / "out").glob("*_seg.dcm")
    written = pydicom.dcmread(path)
    assert [str(written[keyword].value or "") for keyword in wrong] == ["", "", ""]
    assert str(written.PatientID) == "P1"


def test_missing_frame_of_reference_is_said(bundle, head, tmp_path, capsys):
    write(tmp_path / "dicom", head)
    edit(tmp_path / "dicom" / "P1" / "4_AX_T2", FrameOfReferenceUID=None)
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 1
    assert "do not share a frame of reference" in capsys.readouterr().out
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out", "--force") == 0


def test_failed_segmentation_leaves_nothing(bundle, head, tmp_path, capsys, monkeypatch):
    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("pu_unet_monai.runtime.segment_study.write_segmentation", fail)
    write(tmp_path / "dicom", head)
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out", "--probabilities") == 1
    assert "disk full" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.json"]


def test_one_kind_of_files_and_no_results_among_them(bundle, head, tmp_path, capsys):
    write(tmp_path / "dicom", head)
    assert predict(bundle, tmp_path / "dicom", tmp_path / "dicom" / "results") == 2
    assert "lies in the folder of the study" in capsys.readouterr().err
    nibabel.save(nibabel.Nifti1Image(head, LPS), tmp_path / "dicom" / "other.nii")
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 2
    assert "and other volumes (other.nii); give a folder that holds one kind" in capsys.readouterr().err


def test_segmentation_is_valid_dicom(bundle, head, tmp_path):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian's dicom3tools)")
    write(tmp_path / "dicom", head, oblique())
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 0
    for path in (tmp_path / "out" / "P1_20260101_seg.dcm", tmp_path / "dicom" / "P1" / "1_AX_FLAIR" / "0001.dcm"):
        run = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
        assert "Error" not in run.stdout + run.stderr, run.stderr


def test_same_result_has_the_same_identity_and_another_result_another(bundle, head, tmp_path):
    write(tmp_path / "dicom", head)
    uids = []
    for number, options in enumerate([[], [], ["--numbering", "decathlon"]]):
        assert predict(bundle, tmp_path / "dicom", tmp_path / str(number), *options) == 0
        uids.append(str(pydicom.dcmread(tmp_path / str(number) / "P1_20260101_seg.dcm").SOPInstanceUID))
    assert uids[0] == uids[1] != uids[2]


def test_report_says_which_series_were_taken(bundle, head, tmp_path, capsys):
    write(tmp_path / "dicom", head)
    write_study(tmp_path / "dicom" / "more", "P1", {"localizer": head[..., 0]}, LPS)
    (tmp_path / "dicom" / "notes.txt").write_text("x")
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 0
    assert (
        "P1_20260101: took FLAIR: 1 AX FLAIR, T1w: 2 AX T1, T1gd: 3 AX T1 POST, T2w: 4 AX T2\n"
        in capsys.readouterr().out
    )
    found = report(tmp_path / "out")
    (case,) = found["cases"]
    assert {name: series["description"] for name, series in case["series"].items()} == dict(
        zip(MODALITIES, DESCRIPTIONS, strict=True)
    )
    assert case["grid_of"] == "FLAIR"
    assert "warning" not in case
    assert sorted(line.split(" (")[0] for line in found["skipped"]) == ["notes.txt: no DICOM file", "series 1"]
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_series_on_other_grids_are_resampled_to_the_finest(bundle, head, tmp_path, capsys):
    thick = LPS.copy()
    thick[2, 2] = 2.0
    volumes = {text: head[..., i] for i, text in enumerate(DESCRIPTIONS)}
    write_study(tmp_path / "dicom" / "a", "P1", {"AX FLAIR": volumes["AX FLAIR"][:, :, ::2]}, thick)
    write_study(tmp_path / "dicom" / "b", "P1", {name: volumes[name] for name in DESCRIPTIONS[1:]}, LPS)
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 0
    (case,) = report(tmp_path / "out")["cases"]
    assert case["grid_of"] == "T1w"
    assert case["shape"] == list(SHAPE)
    said = capsys.readouterr().out
    assert "FLAIR (40x44x18 voxels of 1 x 1 x 2 mm" in said
    assert "was resampled to the grid of T1w" in said


def test_series_of_other_coordinates_are_refused_unless_forced(bundle, head, tmp_path, capsys):
    write(tmp_path / "dicom", head)
    for path in (tmp_path / "dicom" / "P1" / "4_AX_T2").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.FrameOfReferenceUID = "1.2.3.4"
        dataset.save_as(path)
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 1
    assert "do not share a frame of reference (FLAIR, T1w, T1gd and T2w)" in capsys.readouterr().out
    assert not list((tmp_path / "out").glob("P1*"))
    assert predict(bundle, tmp_path / "dicom", tmp_path / "forced", "--force") == 0
    assert "frame of reference" in report(tmp_path / "forced")["cases"][0]["forced"][0]
    assert "FORCED" in pydicom.dcmread(tmp_path / "forced" / "P1_20260101_seg.dcm").SeriesDescription


def test_one_bad_study_does_not_stop_the_others(bundle, head, tmp_path, capsys):
    for name in ("A", "B", "C"):
        write(tmp_path / "dicom", head, name=name)
    sorted((tmp_path / "dicom" / "B" / "2_AX_T1").iterdir())[9].unlink()
    shutil.rmtree(tmp_path / "dicom" / "C" / "3_AX_T1_POST")
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 1
    said = capsys.readouterr().out
    assert "1 of 3 cases segmented" in said
    assert "failed: B_20260101: series 2 (AX T1, 35 files): 1 slice(s) missing" in said
    assert "study C_20260101 has no T1gd; it has series 1 (AX FLAIR, 36 files)" in said
    assert "choose it with --series T1gd=NUMBER" in said
    assert (tmp_path / "out" / "A_20260101_seg.dcm").is_file()
    assert not list((tmp_path / "out").glob("B*"))


def test_series_are_chosen_by_number_or_description(bundle, head, tmp_path, capsys):
    write(tmp_path / "dicom", head, names=("first", "second", "third", "AX T2"))
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 2
    assert "has no FLAIR and no T1w and no T1gd" in capsys.readouterr().err
    options = ["--series", "FLAIR=1", "--series", "t1w=second", "--series", "T1gd=3"]
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out", *options) == 0
    chosen = report(tmp_path / "out")["cases"][0]["series"]
    assert [chosen[modality]["number"] for modality in MODALITIES] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--series", "PD=3"], "--series PD=3: expected MODALITY=SERIES, one of FLAIR, T1w, T1gd, T2w and"),
        (["--series", "FLAIR"], "--series FLAIR: expected MODALITY=SERIES"),
        (["--series", "FLAIR=1", "--series", "flair=2"], "--series flair=2: FLAIR is given twice"),
        (["--series", "FLAIR=1", "--series", "T2w=1"], "takes one series for FLAIR and T2w"),
        (["--series", "FLAIR=77"], "study P1_20260101 has no series for --series FLAIR=77; it has series 1"),
    ],
)
def test_wrong_choices_are_one_line(options, message, bundle, head, tmp_path, capsys):
    write(tmp_path / "dicom", head[..., :, :])
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out", *options) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_two_series_of_one_modality_have_to_be_chosen(bundle, head, tmp_path, capsys):
    volumes = {text: head[..., i] for i, text in enumerate(DESCRIPTIONS)}
    write_study(tmp_path / "dicom", "P1", {**volumes, "SAG T2": head[..., 3]}, LPS)
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 2
    assert (
        "has 2 series that may be T2w: series 4 (AX T2, 36 files), series 5 (SAG T2, 36 files)"
        in capsys.readouterr().err
    )
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out", "--series", "T2w=4") == 0


def test_names_cannot_lead_out_of_the_output(bundle, head, tmp_path):
    volumes = {text: head[..., i] for i, text in enumerate(DESCRIPTIONS)}
    write_study(tmp_path / "dicom", "../../evil/Ärzte 1", volumes, LPS)
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 0
    (name,) = [path.name for path in (tmp_path / "out").glob("*_seg.dcm")]
    assert name == "evil_Ärzte_1_20260101_seg.dcm"


def test_two_studies_of_one_patient_are_told_apart_by_date(bundle, head, tmp_path):
    volumes = {text: head[..., i] for i, text in enumerate(DESCRIPTIONS)}
    for date in ("20250101", "20260101"):
        write_study(tmp_path / "dicom" / date, "P1", volumes, LPS, date)
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.dcm")) == [
        "P1_20250101_seg.dcm",
        "P1_20260101_seg.dcm",
    ]


def test_no_tumour_gives_a_segmentation_without_labels(bundle, head, tmp_path):
    weights = tmp_path / "models" / "model.pt"
    weights.parent.mkdir()
    net = network()
    with torch.no_grad():
        net.head.bias.fill_(-50.0)
    torch.save(net.state_dict(), weights)
    write(tmp_path / "dicom", head)
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out", "--set", f"ckpt_dir={weights.parent}") == 0
    assert report(tmp_path / "out")["cases"][0]["volumes_ml"] == {"TC": 0, "WT": 0, "ET": 0}
    segmentation = hd.seg.segread(tmp_path / "out" / "P1_20260101_seg.dcm")
    assert not segmentation.pixel_array.any()


def test_network_of_one_channel_takes_a_folder_of_one_series(bundle, head, tmp_path):
    own = tmp_path / "one_channel"
    shutil.copytree(bundle, own)
    config = json.loads((own / "configs" / "inference.json").read_text())
    config["network_def"]["in_channels"] = 1
    transforms = config["preprocessing"]["transforms"]
    transforms[0]["channels"] = 1
    del transforms[1]  # the check of four modalities
    (own / "configs" / "inference.json").write_text(json.dumps(config))
    metadata = json.loads((own / "configs" / "metadata.json").read_text())
    metadata["network_data_format"]["inputs"]["image"] |= {"num_channels": 1, "channel_def": {"0": "FLAIR"}}
    (own / "configs" / "metadata.json").write_text(json.dumps(metadata))
    torch.manual_seed(0)
    net = PUUNet(spatial_dims=3, in_channels=1, out_channels=3, channels=(8, 16))
    torch.save(net.state_dict(), own / "models" / "model.pt")
    write_study(tmp_path / "dicom", "P1", {"whatever": head[..., 0]}, LPS)
    assert predict(own, tmp_path / "dicom", tmp_path / "out") == 0
    assert hd.seg.segread(tmp_path / "out" / "P1_20260101_seg.dcm").number_of_segments == 3


def test_images_bundle_refuses_dicom(repository, head, tmp_path, capsys, monkeypatch):
    source = repository / "bundles" / "pu_unet_kvasir"
    own = tmp_path / "pu_unet_kvasir"
    shutil.copytree(source, own, ignore=shutil.ignore_patterns("*.pt", "output"))
    (own / "models").mkdir(exist_ok=True)
    net = PUUNet(spatial_dims=2, in_channels=3, out_channels=1, channels=(8, 16))
    torch.save(net.state_dict(), own / "models" / "model.pt")
    write(tmp_path / "dicom", head)
    assert predict(own, tmp_path / "dicom", tmp_path / "out", "--set", "channels=[8,16]") == 2
    assert "DICOM, but this bundle takes PNG or JPEG images" in capsys.readouterr().err


def test_missing_packages_are_named(bundle, head, tmp_path, capsys, monkeypatch):
    write(tmp_path / "dicom", head)
    for name in [
        name for name in sys.modules if name.startswith(("pu_unet_monai.dicom", "pu_unet_monai.runtime.segment_study"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    assert predict(bundle, tmp_path / "dicom", tmp_path / "out") == 2
    assert "pip install highdicom" in capsys.readouterr().err


def test_terminated_run_leaves_no_copy_of_the_images(bundle, head, tmp_path):
    for number in range(8):
        write(tmp_path / "dicom", head, name=f"P{number:02d}")
    arguments = ["predict", "--bundle", bundle, "--input", tmp_path / "dicom", "--output", tmp_path / "out"]
    process = subprocess.Popen([sys.executable, "-m", "pu_unet_monai", *arguments], stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if list((tmp_path / "out").glob(".dicom-*/*.nii")):
            break
        time.sleep(0.05)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in said
    assert not list((tmp_path / "out").glob(".*"))


def test_what_a_killed_program_left_of_a_patient_is_removed(bundle, head, tmp_path):
    source, output = write(tmp_path / "dicom", head), tmp_path / "out"
    places = ["--bundle", bundle, "--input", source, "--output", output]
    command = [PYTHON, "-m", "pu_unet_monai", "predict", *map(str, places), "--runtime", "eager"]
    with subprocess.Popen(
        command, env=child_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 300
        while not list(output.glob(".dicom-*/*.nii")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.kill()
    assert list(output.glob(".dicom-*/*.nii"))
    assert predict(bundle, source, output) == 0
    assert not list(output.glob(".*"))
