"""Archive, segmentation, archive: the loop of ``examples/pacs`` with a real Orthanc in a network of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed (extra dicom)")
pytestmark = pytest.mark.pacs

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = {"Orthanc": "orthanc", "storescu": "dcmtk", "unshare": "util-linux", "ip": "iproute2"}


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [REPOSITORY / "examples" / "pacs" / script, *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(autouse=True)
def programs() -> None:
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: Debian's {', '.join(missing)} (make test-all)")
    if subprocess.run(["unshare", "--net", "--map-root-user", "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no network namespace")


def test_study_goes_round(tmp_path):
    done = run("demo.sh", tmp_path / "work")
    assert done.returncode == 0, done.stderr
    before, after = done.stdout.split("series of the study now:")
    assert "SEG" not in before
    assert "1000\tSEG\t1\n" in after
    loop = tmp_path / "work" / "loop-rsp0001"
    slices = len(list((loop / "dicom").iterdir())) // 4
    for number, description in enumerate(("FLAIR", "T1", "T1 +C", "T2"), 1):
        assert f"{number}\tMR\t{slices}\n" in before
        assert f"{number}\tMR\t{slices}\n" in after
        assert f": {number} {description}" in before  # what predict took
    (written,) = (loop / "results").glob("*_seg.dcm")
    archived = [
        found
        for path in (tmp_path / "work" / "archive").rglob("*")
        if path.is_file() and pydicom.misc.is_dicom(path)
        for found in [pydicom.dcmread(path)]
        if found.Modality == "SEG"
    ]
    assert len(archived) == 1
    expected = pydicom.dcmread(written)
    assert archived[0].PixelData == expected.PixelData
    assert archived[0].SOPInstanceUID == expected.SOPInstanceUID
    fetched = {str(pydicom.dcmread(path).SOPInstanceUID) for path in (loop / "dicom").iterdir()}
    for frame in archived[0].PerFrameFunctionalGroupsSequence:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert str(source.ReferencedSOPInstanceUID) in fetched
        break


def test_unknown_archive_is_one_line_and_nothing_is_stored(tmp_path):
    done = run("segment_study.sh", "127.0.0.1", "1", "NOBODY", "1.2.3", tmp_path / "work")
    assert done.returncode == 2
    assert not (tmp_path / "work").exists()
    assert "error: 127.0.0.1:1 does not answer as NOBODY: check host, port" in done.stderr


def test_usage():
    for script in ("demo.sh", "segment_study.sh"):
        done = run(script)
        assert done.returncode == 2
        assert f"examples/pacs/{script}" in done.stderr
