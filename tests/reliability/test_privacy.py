"""No name or identifier of a patient is in what the programs print and write, unless it was asked for."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pu_unet_monai.__main__ import main
from tests.reliability.bad_images import good_image
from tests.reliability.bad_volumes import AFFINE, good_voxels
from tests.reliability.bundles import small_bundle

NAME, IDENTIFIER, BORN, ACCESSION = "DOE^JANE", "MRN-4711-77", "19510423", "ACC998877"
SECRETS = (NAME, "DOE", "JANE", IDENTIFIER, BORN, ACCESSION)


def found_in(folder: Path, said: str, secrets: tuple[str, ...] = SECRETS) -> list[str]:
    """Name where secrets are: in names of files, in their content or in what was printed; but for DICOM objects."""
    places = [f"printed: {secret}" for secret in secrets if secret in said]
    for path in folder.rglob("*"):
        places += [f"name of {path.name}" for secret in secrets if secret in str(path.relative_to(folder))]
        if path.is_file() and path.suffix != ".dcm":
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            places += [f"{path.name}: {secret}" for secret in secrets if secret.encode() in content]
    return places


@pytest.fixture(scope="module")
def bundle(repository, tmp_path_factory) -> Path:
    sizes = {"roi_size": [16, 16, 16], "runtime": "eager"}
    return small_bundle(repository, "pu_unet_brats", tmp_path_factory.mktemp("bundle") / "pu_unet_brats", **sizes)


@pytest.fixture
def studies(tmp_path) -> Path:
    """Two DICOM studies, of which one lacks a slice, under names that say nothing."""
    pytest.importorskip("highdicom", reason="highdicom is not installed (extra dicom)")
    pydicom = pytest.importorskip("pydicom")
    from data_prep.dicom_layout import write_study

    for number in range(2):
        volumes = {name: good_voxels(i) for i, name in enumerate(("FLAIR", "T1", "T1 POST", "T2"))}
        folder = tmp_path / "in" / str(number)
        write_study(folder, f"{IDENTIFIER}{number}", volumes, AFFINE)
        for path in folder.rglob("*.dcm"):
            dataset = pydicom.dcmread(path)
            dataset.PatientName, dataset.PatientBirthDate = NAME, BORN
            dataset.AccessionNumber = ACCESSION
            dataset.save_as(path)
    next((tmp_path / "in" / "1").rglob("0005.dcm")).unlink()
    return tmp_path / "in"


def predict(bundle: Path, source: Path, output: Path, *options: str) -> int:
    return main(["predict", "--bundle", str(bundle), "--input", str(source), "--output", str(output), *options])


def test_dicom(bundle, studies, tmp_path, capfd):
    pydicom = pytest.importorskip("pydicom")
    assert predict(bundle, studies, tmp_path / "out") == 1
    captured = capfd.readouterr()
    uids = {str(pydicom.dcmread(path).StudyInstanceUID) for path in studies.rglob("*.dcm")}
    uids |= {str(pydicom.dcmread(path).SeriesInstanceUID) for path in studies.rglob("*.dcm")}
    assert "1 of 2 cases segmented" in captured.out
    assert "slice(s) missing" in captured.out
    assert not found_in(tmp_path / "out", captured.out + captured.err, SECRETS + tuple(uids))
    (segmentation,) = (tmp_path / "out").glob("*.dcm")
    assert segmentation.name.startswith("study_")
    assert str(pydicom.dcmread(segmentation).PatientID).startswith(IDENTIFIER)  # as DICOM wants it
    first = {path.name for path in (tmp_path / "out").iterdir()}
    assert predict(bundle, studies, tmp_path / "again") == 1
    assert {path.name for path in (tmp_path / "again").iterdir()} == first


@pytest.mark.parametrize(
    ("keyword", "value", "code"),
    [
        ("SeriesDescription", f"{NAME} {{}} {IDENTIFIER}", 0),
        ("SpecificCharacterSet", NAME, 1),
        ("PhotometricInterpretation", NAME, 1),
        ("Modality", "DOE", 2),
        ("SOPClassUID", "1.2.3.4711", 1),
    ],
)
def test_dicom_with_identifiers_where_none_belong(bundle, studies, tmp_path, capfd, keyword, value, code):
    pydicom = pytest.importorskip("pydicom")
    for path in (studies / "0").rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.PatientID = IDENTIFIER
        setattr(dataset, keyword, value.format(dataset.SeriesDescription))
        dataset.save_as(path)
    said = {f"--series={name}={number}" for number, name in enumerate(("FLAIR", "T1w", "T1gd", "T2w"), 1)}
    assert predict(bundle, studies / "0", tmp_path / "out", *(said if keyword == "SeriesDescription" else ())) == code
    captured = capfd.readouterr()
    assert captured.out + captured.err
    assert not found_in(tmp_path / "out", captured.out + captured.err, (*SECRETS, "1.2.3.4711"))


def test_dicom_with_identifiers_that_were_asked_for(bundle, studies, tmp_path):
    assert predict(bundle, studies, tmp_path / "out", "--patient-ids") == 1
    (segmentation,) = (tmp_path / "out").glob("*.dcm")
    assert segmentation.name.startswith(IDENTIFIER)
    (case,) = json.loads((tmp_path / "out" / "report.json").read_text())["cases"]
    assert all(series["uid"] for series in case["series"].values())


def test_series_of_two_patients(bundle, studies, tmp_path, capfd):
    pydicom = pytest.importorskip("pydicom")
    for path in (studies / "0").rglob("0*.dcm"):
        if "T2" in str(path.parent):
            dataset = pydicom.dcmread(path)
            dataset.PatientID = f"{IDENTIFIER}9"
            dataset.save_as(path)
    assert predict(bundle, studies / "0", tmp_path / "out") == 2
    said = "".join(capfd.readouterr())
    assert "has series of 2 patients" in said
    assert not [secret for secret in SECRETS if secret in said]


def test_headers_of_volumes(bundle, tmp_path, capfd):
    (tmp_path / "in").mkdir()
    image = nibabel.Nifti1Image(np.stack([good_voxels(seed) for seed in range(4)], -1), AFFINE)
    image.header["descrip"], image.header["db_name"] = NAME, IDENTIFIER
    image.header["aux_file"], image.header["intent_name"] = BORN, ACCESSION
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", NAME.encode()))
    nibabel.save(image, tmp_path / "in" / "case.nii.gz")
    assert predict(bundle, tmp_path / "in", tmp_path / "out", "--probabilities") == 0
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert not found_in(tmp_path / "out", "".join(capfd.readouterr()))


def test_headers_of_images(repository, tmp_path, capfd):
    bundle = small_bundle(repository, "pu_unet_kvasir", tmp_path / "pu_unet_kvasir", image_size=32)
    (tmp_path / "in").mkdir()
    text = PngInfo()
    text.add_text("Patient", NAME)
    good_image().save(tmp_path / "in" / "a.png", pnginfo=text)
    exif = Image.Exif()
    exif[0x010E] = f"{NAME} {IDENTIFIER}"  # ImageDescription
    good_image().save(tmp_path / "in" / "b.jpg", exif=exif, comment=ACCESSION.encode())
    assert predict(bundle, tmp_path / "in", tmp_path / "out") == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 4
    assert not found_in(tmp_path / "out", "".join(capfd.readouterr()))
