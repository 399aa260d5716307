"""No name or identifier of a patient is in what the programs print and write, unless it was asked for."""

from __future__ import annotations

import base64
import gzip
import json
import re
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pu_unet_monai.__main__ import main
from pu_unet_monai.evaluation.pictures import NOTICE
from tests.bundles.conftest import prepare
from tests.reliability.bad_images import good_image
from tests.reliability.bad_volumes import AFFINE, good_voxels
from tests.reliability.bundles import small_bundle

NAME, IDENTIFIER, BORN, ACCESSION = "DOE^JANE", "MRN-4711-77", "19510423", "ACC998877"
OTHER, PHYSICIAN = "OLD-0815", "HOUSE^GREG"
SECRETS = (NAME, "DOE", "JANE", IDENTIFIER, "4711", BORN, "1951", ACCESSION, OTHER, "0815", "HOUSE", "GREG")


def found_in(folder: Path, said: str, secrets: tuple[str, ...] = SECRETS) -> list[str]:
    """Name where secrets are: in names of files, in their content or in what was printed; but for DICOM objects."""
    places = [f"printed: {secret}" for secret in secrets if secret in said]
    for path in folder.rglob("*"):
        places += [f"name of {path.name}" for secret in secrets if secret in str(path.relative_to(folder))]
        if path.is_file() and path.suffix != ".dcm":
            content = unpacked(path)
            places += [f"{path.name}: {secret}" for secret in secrets if secret.encode() in content]
    return places


def unpacked(path: Path) -> bytes:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return b"".join(archive.read(name) for name in archive.namelist())
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


@pytest.fixture
def drawn(monkeypatch) -> list[str]:
    """All words that are drawn into the pictures which the test has written."""
    words: list[str] = []
    savefig = Figure.savefig

    def draw(figure: Figure, *args: object, **options: object) -> None:
        savefig(figure, *args, **options)
        words.extend(text.get_text() for text in figure.findobj(Text))

    monkeypatch.setattr(Figure, "savefig", draw)
    return words


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


def test_dicom(bundle, studies, tmp_path, capfd, drawn):
    pydicom = pytest.importorskip("pydicom")
    assert predict(bundle, studies, tmp_path / "out") == 1
    captured = capfd.readouterr()
    uids = {str(pydicom.dcmread(path).StudyInstanceUID) for path in studies.rglob("*.dcm")}
    uids |= {str(pydicom.dcmread(path).SeriesInstanceUID) for path in studies.rglob("*.dcm")}
    assert "1 of 2 cases segmented" in captured.out
    assert "slice(s) missing" in captured.out
    assert not found_in(tmp_path / "out", captured.out + captured.err + "\n".join(drawn), SECRETS + tuple(uids))
    (segmentation,) = (tmp_path / "out").glob("*.dcm")
    assert segmentation.name.startswith("study_")
    assert any(segmentation.name.removesuffix("_seg.dcm") in words for words in drawn)
    assert NOTICE in drawn
    assert str(pydicom.dcmread(segmentation).PatientID).startswith(IDENTIFIER)  # as DICOM wants it
    first = {path.name for path in (tmp_path / "out").iterdir()}
    assert predict(bundle, studies, tmp_path / "again") == 1
    assert {path.name for path in (tmp_path / "again").iterdir()} == first


DESCRIPTIONS = {
    "FLAIR_DOE_JANE_19510423_MRN-4711-77": "FLAIR_***",
    "JANE DOE *23.04.1951 OLD-0815 T1": "*** T1",
    f"DR. HOUSE {ACCESSION} T1 POST": "*** T1 POST",
    f"{PHYSICIAN}_T2_{NAME}": "***_T2_***",
}
"""What somebody typed, in the order of the series, and what is shown of it."""


def with_identifiers(folder: Path, name: str = NAME, descriptions: tuple[str, ...] = tuple(DESCRIPTIONS)) -> None:
    """Put identifiers of all kinds into the headers of a study."""
    pydicom = pytest.importorskip("pydicom")
    for path in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.PatientID, dataset.PatientName = IDENTIFIER, name
        dataset.OtherPatientIDs, dataset.ReferringPhysicianName = OTHER, PHYSICIAN
        dataset.SeriesDescription = descriptions[dataset.SeriesNumber - 1]
        dataset.save_as(path)


SERIES = [f"--series={name}={number}" for number, name in enumerate(("FLAIR", "T1w", "T1gd", "T2w"), 1)]


def shown_descriptions(output: Path) -> list[str]:
    (case,) = json.loads((output / "report.json").read_text())["cases"]
    return [series["description"] for series in case["series"].values()]


def test_descriptions_with_identifiers(bundle, studies, tmp_path, capfd, drawn):
    with_identifiers(studies / "0")
    assert predict(bundle, studies / "0", tmp_path / "out", *SERIES) == 0
    said = "".join(capfd.readouterr())
    assert "took FLAIR: 1 FLAIR_***, T1w: 2 *** T1, T1gd: 3 *** T1 POST, T2w: 4 ***_T2_***" in said
    assert shown_descriptions(tmp_path / "out") == list(DESCRIPTIONS.values())
    assert not found_in(tmp_path / "out", said + "\n".join(drawn))


def test_descriptions_with_identifiers_in_messages(bundle, studies, tmp_path, capfd):
    with_identifiers(studies / "0")
    assert predict(bundle, studies / "0", tmp_path / "out") == 2
    said = "".join(capfd.readouterr())
    assert "series 1 (FLAIR_***, 16 files)" in said
    assert not [secret for secret in SECRETS if secret in said]


def test_descriptions_with_a_name_of_short_words(bundle, studies, tmp_path, capfd):
    with_identifiers(studies / "0", "LI^NA", ("LI NA FLAIR", "T1_LI", "T1 POST LI_NA", "T2-NA"))
    assert predict(bundle, studies / "0", tmp_path / "out", *SERIES) == 0
    assert shown_descriptions(tmp_path / "out") == ["*** FLAIR", "T1_***", "T1 POST ***", "T2-***"]
    assert "took FLAIR: 1 *** FLAIR, T1w: 2 T1_***, T1gd: 3 T1 POST ***, T2w: 4 T2-***\n" in capfd.readouterr().out


def test_descriptions_that_were_asked_for(bundle, studies, tmp_path):
    with_identifiers(studies / "0")
    assert predict(bundle, studies / "0", tmp_path / "out", *SERIES, "--patient-ids") == 0
    assert shown_descriptions(tmp_path / "out") == list(DESCRIPTIONS)


@pytest.mark.parametrize(
    ("keyword", "value", "code"),
    [
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
        setattr(dataset, keyword, value)
        dataset.save_as(path)
    assert predict(bundle, studies / "0", tmp_path / "out") == code
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
    assert "has images of 2 patients" in said
    assert not [secret for secret in SECRETS if secret in said]


def test_headers_of_volumes(bundle, tmp_path, capfd, drawn):
    (tmp_path / "in").mkdir()
    image = nibabel.Nifti1Image(np.stack([good_voxels(seed) for seed in range(4)], -1), AFFINE)
    image.header["descrip"], image.header["db_name"] = NAME, IDENTIFIER
    image.header["aux_file"], image.header["intent_name"] = BORN, ACCESSION
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", NAME.encode()))
    nibabel.save(image, tmp_path / "in" / "case.nii.gz")
    assert predict(bundle, tmp_path / "in", tmp_path / "out", "--probabilities") == 0
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert NOTICE in drawn
    assert not found_in(tmp_path / "out", "".join(capfd.readouterr()) + "\n".join(drawn))


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


def test_report_of_an_evaluation(repository, tmp_path, capfd):
    """Looked at with its charts and pictures, which the page holds as base64."""
    bundle = small_bundle(repository, "pu_unet_kvasir", tmp_path / "pu_unet_kvasir")
    dataset = prepare("pu_unet_kvasir", tmp_path)
    text = PngInfo()
    text.add_text("Patient", f"{NAME} {IDENTIFIER} {BORN}")
    exif = Image.Exif()
    exif[0x010E] = f"{NAME} {IDENTIFIER}"  # ImageDescription
    for path in [path for path in dataset.folder.rglob("*") if path.suffix in (".png", ".jpg")]:
        with Image.open(path) as image:
            image.load()
        image.save(path, **({"pnginfo": text} if path.suffix == ".png" else {"exif": exif, "comment": NAME.encode()}))
    places = {"bundle": bundle, "dataset-dir": dataset.folder, "datalist": dataset.datalist, "output": tmp_path / "out"}
    options = [f"--{name}={value}" for name, value in places.items()]
    settings = ["--set=num_workers=0", "--set=image_size=32", "--set=channels=[8,16]", "--set=amp=false"]
    assert main(["evaluate", *options, *settings]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    within = [base64.b64decode(data) for data in re.findall(r"data:image/[\w+]+;base64,([\w+/=]+)", page)]
    assert any(b"<!-- Dice -->" in picture for picture in within)  # words of charts are found so
    assert not [secret for secret in SECRETS if any(secret.encode() in picture for picture in within)]
    assert not found_in(tmp_path / "out", "".join(capfd.readouterr()))
    assert found_in(dataset.folder, "")  # else there was nothing to find
