"""A final name never holds half a file."""

from __future__ import annotations

import signal
import subprocess

import pytest

from pu_unet_monai.files import atomic_path, read_csv, temporary_folder, write_csv
from tests.conftest import PYTHON


def test_appears_when_complete(tmp_path):
    target = tmp_path / "new" / "report.json"
    with atomic_path(target) as path:
        path.write_text("whole")
        assert not target.exists()
        assert path.suffix == ".json"
    assert [p.name for p in target.parent.iterdir()] == ["report.json"]
    assert target.read_text() == "whole"


def test_failure_leaves_what_was_there(tmp_path):
    target = tmp_path / "report.json"
    target.write_text("earlier")

    def interrupted() -> None:
        with atomic_path(target) as path:
            path.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [target]


def test_temporary_folder_is_removed(tmp_path):
    with temporary_folder(tmp_path, ".study-") as folder:
        (folder / "patient.nii").write_text("voxels")
        assert folder.stat().st_mode & 0o077 == 0
    assert not list(tmp_path.iterdir())


def test_temporary_folder_is_removed_after_an_error(tmp_path):
    def interrupted() -> None:
        with temporary_folder(tmp_path, ".study-") as folder:
            (folder / "patient.nii").write_text("voxels")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_folders_in_use_and_those_of_others_stay(tmp_path):
    (tmp_path / ".study-of-somebody").mkdir()
    with temporary_folder(tmp_path, ".study-") as first, temporary_folder(tmp_path, ".study-") as second:
        assert first != second
        assert first.is_dir()
        assert second.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == [".study-of-somebody"]


def test_folder_of_a_killed_program_is_removed_by_the_next(tmp_path):
    code = (
        "import os, pathlib, signal\n"
        "from pu_unet_monai.files import temporary_folder\n"
        f"with temporary_folder(pathlib.Path({str(tmp_path)!r}), '.study-') as folder:\n"
        "    (folder / 'patient.nii').write_text('voxels')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([PYTHON, "-c", code], check=False).returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".study-*/patient.nii"))) == 1
    with temporary_folder(tmp_path, ".study-") as folder:
        assert list(tmp_path.glob(".study-*/")) == [folder]
    assert not list(tmp_path.iterdir())


def test_tables_that_a_spreadsheet_has_saved(tmp_path):
    (tmp_path / "epochs.csv").write_text("epoch,loss\n1,0.5\n", encoding="utf-8-sig")
    assert read_csv(tmp_path / "epochs.csv") == [{"epoch": "1", "loss": "0.5"}]


def test_tables_hold_any_name(tmp_path):
    write_csv(tmp_path / "scores.csv", [{"case": "M\udcfcller\n", "dice": "0.5"}])
    assert read_csv(tmp_path / "scores.csv") == [{"case": "M\\udcfcller\n", "dice": "0.5"}]
