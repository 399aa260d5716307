from __future__ import annotations

import errno
import json
import os
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest
from monai.data import ITKWriter

from data_prep import folder
from data_prep.folder import ENDINGS
from pu_unet_monai.data import load_datalist

MASK = np.zeros((8, 9), dtype=np.uint8)
MASK[2:5, 2:5] = 255


@pytest.fixture
def flat(tmp_path, save_image):
    """Twelve 2D images of six patients, with masks."""
    for patient in range(6):
        for number in range(2):
            name = f"P{patient:02d}_{number}.png"
            save_image(tmp_path / "own" / "images" / name, np.full((8, 9, 3), 10 * patient, dtype=np.uint8))
            save_image(tmp_path / "own" / "labels" / name, MASK)
    return tmp_path / "own"


@pytest.fixture
def volumes(tmp_path):
    """Four small NIfTI volumes with labels."""
    for number in range(4):
        write_volume(tmp_path / "own" / "images" / f"case{number}.nii.gz", np.ones((4, 5, 6), dtype=np.float32))
        write_volume(tmp_path / "own" / "labels" / f"case{number}_seg.nii.gz", np.eye(5, 6)[None].repeat(4, 0))
    return tmp_path / "own"


def write_volume(path, values, spacing=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    if path.name.endswith((".nii", ".nii.gz")):
        nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), affine), path)
    else:
        writer = ITKWriter(output_dtype=np.float32)
        writer.set_data_array(values.astype(np.float32), channel_dim=None)
        writer.set_metadata({"affine": affine, "original_affine": affine}, resample=False)
        writer.write(str(path))


def arguments(source, output, *options):
    return ["--images", source / "images", "--labels", source / "labels", "--output", output, *options]


def run(*argv):
    return folder.main([str(argument) for argument in argv])


def test_images_of_one_patient_stay_together(flat, tmp_path, entries, capsys):
    assert run(*arguments(flat, tmp_path / "d.json", "--group-by", r"^(P\d+)_")) == 0
    found = entries(tmp_path / "d.json")
    assert len({entry["image"] for entry in found}) == len(found) == 12
    assert len({(entry["group"], entry["split"]) for entry in found}) == 6
    assert found[0]["label"] == found[0]["image"].replace("images/", "labels/")
    assert json.loads((tmp_path / "d.json").read_text())["provenance"]["command"] == (
        r"python -m data_prep.folder --group-by '^(P\d+)_'"
    )
    assert f"--dataset_dir {flat} --datalist_file {tmp_path / 'd.json'}" in capsys.readouterr().out


def test_names_that_are_no_text(flat, tmp_path, save_image):
    """Of a disk of another system: Latin-1, which Linux takes for a name, and Python for none of its letters."""
    for part in ("images", "labels"):
        (flat / part / "P00_0.png").rename(flat / part / os.fsdecode(b"caf\xe9.png"))
    assert run(*arguments(flat, tmp_path / "datalist.json")) == 0
    content = json.loads((tmp_path / "datalist.json").read_text(encoding="utf-8"))
    paths = [entry["image"] for section in ("training", "validation", "test") for entry in content[section]]
    assert os.fsdecode(b"images/caf\xe9.png") in paths
    assert load_datalist(tmp_path / "datalist.json", flat, "training")


def test_a_folder_that_may_not_be_read(flat, tmp_path, capsys, monkeypatch):
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)  # who runs tests as root may read everything
    monkeypatch.setattr(Path, "rglob", lambda path, pattern: refuse(path))
    assert run(*arguments(flat, tmp_path / "datalist.json")) == 2
    said = f"error: {flat / 'images'}: Permission denied; mend that, or choose another folder.\n"
    assert capsys.readouterr().err == said


def test_the_whole_match_is_the_patient_where_there_is_no_group(flat, tmp_path, entries):
    folder.prepare(flat / "images", flat / "labels", tmp_path / "d.json", group_by=r"P\d+")
    assert {entry["group"] for entry in entries(tmp_path / "d.json")} == {f"P{patient:02d}" for patient in range(6)}


def test_folds(flat, tmp_path, entries):
    assert run(*arguments(flat, tmp_path / "d.json", "--folds", 3, "--group-by", "P..")) == 0
    assert sorted(path.name for path in tmp_path.glob("*.json")) == [f"d_fold{fold}.json" for fold in range(3)]
    tested = Counter()
    for fold in range(3):
        found = entries(tmp_path / f"d_fold{fold}.json")
        assert len(found) == 12
        tested.update(entry["image"] for entry in found if entry["split"] == "test")
    assert len(tested) == 12
    assert set(tested.values()) == {1}


@pytest.mark.parametrize("ending", ENDINGS)
def test_usual_endings_of_labels(flat, tmp_path, entries, ending):
    for path in (flat / "labels").iterdir():
        path.rename(path.with_name(f"{path.stem}{ending}.png"))
    folder.prepare(flat / "images", flat / "labels", tmp_path / "d.json")
    assert all(entry["label"].endswith(f"{ending}.png") for entry in entries(tmp_path / "d.json"))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_volumes(tmp_path, entries, suffix, capsys):
    for number in range(4):
        write_volume(tmp_path / "own" / "images" / f"case{number}{suffix}", np.ones((4, 5, 6)), spacing=2.0)
        write_volume(tmp_path / "own" / "labels" / f"case{number}_seg{suffix}", np.ones((4, 5, 6)), spacing=2.0)
    assert run(*arguments(tmp_path / "own", tmp_path / "d.json")) == 0
    found = entries(tmp_path / "d.json")
    assert sorted(entry["label"] for entry in found) == [f"labels/case{number}_seg{suffix}" for number in range(4)]
    assert f"--dataset_dir {tmp_path / 'own'}" in capsys.readouterr().out


def test_all_bad_volumes_are_named_at_once(volumes, tmp_path, fails):
    labels = volumes / "labels"
    write_volume(labels / "case0_seg.nii.gz", np.ones((4, 5, 7)))
    write_volume(labels / "case1_seg.nii.gz", np.ones((4, 5, 6)), spacing=2.0)
    write_volume(labels / "case2_seg.nii.gz", np.arange(120).reshape(4, 5, 6) % 3)
    damaged = volumes / "images" / "case3.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:60])
    message = fails(folder.main, *arguments(volumes, tmp_path / "d.json"), folder=tmp_path)
    assert message.startswith("error: 4 bad file(s):\n")
    assert f"{labels / 'case0_seg.nii.gz'}: shape 4x5x7, but the image case0.nii.gz has 4x5x6" in message
    assert f"{labels / 'case1_seg.nii.gz'}: its affine differs from that of the image case1.nii.gz" in message
    assert f"{labels / 'case2_seg.nii.gz'}: values 0, 1, 2, expected 0 and 1 (binary); save the wanted" in message
    assert f"{damaged}: cannot be read as a volume (" in message


def test_images_that_the_expression_does_not_match(flat, tmp_path, fails):
    message = fails(folder.main, *arguments(flat, tmp_path / "d.json", "--group-by", "P0[0-4]"), folder=tmp_path)
    assert message.startswith("error: 2 image(s) that --group-by 'P0[0-4]' does not match:\n")
    assert str(flat / "images" / "P05_0.png") in message
    assert str(flat / "images" / "P05_1.png") in message


def test_too_few_patients_for_the_folds(flat, tmp_path, fails):
    options = ["--group-by", "P..", "--folds", 7]
    message = fails(folder.main, *arguments(flat, tmp_path / "d.json", *options), folder=tmp_path)
    assert "--folds 7: 12 case(s) in 6 group(s) are too few" in message


@pytest.mark.parametrize("folds", [0, 1, 2])
def test_too_few_folds(flat, tmp_path, fails, folds):
    message = fails(folder.main, *arguments(flat, tmp_path / "d.json", "--folds", folds), folder=tmp_path)
    assert f"--folds {folds}: expected at least 3" in message


def test_not_an_expression(flat, tmp_path, fails):
    message = fails(folder.main, *arguments(flat, tmp_path / "d.json", "--group-by", "(P"), folder=tmp_path)
    assert "--group-by '(P': not a regular expression (" in message


def test_images_and_labels_in_one_folder(flat, tmp_path, fails):
    options = ["--images", flat / "images", "--labels", flat / "images", "--output", tmp_path / "d.json"]
    assert "is the folder of the images as well" in fails(folder.main, *options, folder=tmp_path)


def test_2d_and_3d_together(flat, tmp_path, fails):
    write_volume(flat / "images" / "case.nii.gz", np.ones((4, 5, 6)))
    message = fails(folder.main, *arguments(flat, tmp_path / "d.json"), folder=tmp_path)
    assert "12 2D and 1 3D images together, such as P00_0.png and case.nii.gz" in message


def test_no_images(tmp_path, fails):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    message = fails(folder.main, *arguments(tmp_path, tmp_path / "d.json"), folder=tmp_path)
    assert f"{tmp_path / 'images'}: no image found, expected .png, " in message


def test_ambiguous_pairs(flat, tmp_path, fails, save_image):
    save_image(flat / "labels" / "P00_0_mask.png", MASK)
    save_image(flat / "images" / "P00_1.bmp", MASK)
    message = fails(folder.main, *arguments(flat, tmp_path / "d.json"), folder=tmp_path)
    assert f"{flat / 'images' / 'P00_0.png'}: several masks, P00_0.png, P00_0_mask.png" in message
    assert f"{flat / 'images' / 'P00_1.bmp'}: several images named P00_1, P00_1.bmp, P00_1.png" in message


def test_uneven_parts_are_said(tmp_path, save_image, capsys):
    for group, number in (("a", 12), ("b", 5), ("c", 1)):
        for index in range(number):
            save_image(tmp_path / "images" / f"{group}{index}.png", np.full((8, 8), 50 + index, np.uint8))
            save_image(tmp_path / "labels" / f"{group}{index}.png", np.full((8, 8), 255, np.uint8))
    arguments = ["--images", str(tmp_path / "images"), "--labels", str(tmp_path / "labels")]
    assert folder.main([*arguments, "--output", str(tmp_path / "even.json")]) == 0
    assert "notice" not in capsys.readouterr().out
    assert folder.main([*arguments, "--output", str(tmp_path / "uneven.json"), "--group-by", "^."]) == 0
    assert "notice: some groups are large" in capsys.readouterr().out
    content = json.loads((tmp_path / "uneven.json").read_text())
    assert [len(content[name]) for name in ("training", "validation", "test")] == [12, 5, 1]
