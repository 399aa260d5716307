from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import volume_phantom
from pu_unet_monai.data import VolumeCase, find_volume_cases

BRATS_2021 = ("_flair", "_t1", "_t1ce", "_t2")
BRATS_2023 = ("-t2f", "-t1n", "-t1c", "-t2w")
OTHER = ("_T2_FLAIR", "_T1w", "_T1_Gd", "_T2w")


def touch(folder, *names):
    """Make empty files, and return their paths."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tuple(paths)


@pytest.mark.parametrize("endings", [BRATS_2021, BRATS_2023, OTHER])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd", ".NII.GZ"])
@pytest.mark.parametrize("inside", ["", "case/", "HGG/case/"], ids=["flat", "case_folder", "graded"])
def test_four_files_a_case(tmp_path, endings, suffix, inside):
    images = touch(tmp_path, *[f"{inside}A{ending}{suffix}" for ending in endings])
    (label,) = touch(tmp_path, f"{inside}A{endings[0][0]}seg{suffix}")
    assert find_volume_cases(tmp_path) == ([VolumeCase("A", images, label)], [])
    assert find_volume_cases(images[0].parent) == ([VolumeCase("A", images, label)], [])


def test_a_mixture_in_one_folder(tmp_path):
    single = touch(tmp_path, "D.nii.gz", "B.mha")
    flat = touch(tmp_path, *[f"C{ending}.nii.gz" for ending in BRATS_2021])
    folder = touch(tmp_path, *[f"A/BraTS-GLI-00000-000{ending}.nii.gz" for ending in BRATS_2023])
    nameless = touch(tmp_path, "E/flair.nii", "E/t1.nii", "E/t1ce.nii", "E/t2.nii")
    labels = touch(tmp_path, "A/BraTS-GLI-00000-000-seg.nii.gz", "D_seg.nii.gz", "E/seg.nii")
    touch(tmp_path, "B_prob.nii.gz", "C_old_seg.nii.gz", "C_seg_old.nii.gz", "C-seg-2.nii.gz", "F_seg.nii.gz")
    touch(tmp_path, "._D.nii.gz", ".cache/G.nii.gz", "notes.txt", "D.json", "B.png")
    assert find_volume_cases(tmp_path) == (
        [
            VolumeCase("B", single[1:], None),
            VolumeCase("BraTS-GLI-00000-000", folder, labels[0]),
            VolumeCase("C", flat, None),
            VolumeCase("D", single[:1], labels[1]),
            VolumeCase("E", nameless, labels[2]),
        ],
        [],
    )


def test_a_case_folder_given_as_dot_has_its_own_name(tmp_path, monkeypatch):
    touch(tmp_path, "P7/flair.nii", "P7/t1.nii", "P7/t1ce.nii", "P7/t2.nii")
    monkeypatch.chdir(tmp_path / "P7")
    (case,), _ = find_volume_cases(Path())
    assert (case.name, case.images[0]) == ("P7", Path("flair.nii"))


def test_one_file(tmp_path):
    images = touch(tmp_path, *[f"A{ending}.nii.gz" for ending in BRATS_2021])
    single, broken, label, text = touch(tmp_path, "B.nii", "C_t1.nii", "B_seg.nii.gz", "B.txt")
    assert find_volume_cases(single) == ([VolumeCase("B", (single,), label)], [])
    assert find_volume_cases(images[2]) == ([VolumeCase("A", images, None)], [])
    for path, problem in [
        (broken, f"{tmp_path}: case C has T1w (C_t1.nii) but no FLAIR, T1gd, T2w; add what is missing (names that end"),
        (label, f"{label}: a label or a result by its name, not an image; give the image, or rename the file"),
        (text, f"{text}: no volume by its name, expected one that ends in .nii"),
        (tmp_path / "none", f"{tmp_path / 'none'}: no such file or folder"),
    ]:
        cases, (line,) = find_volume_cases(path)
        assert cases == []
        assert line.startswith(problem)


def test_cases_that_are_not_whole_do_not_hide_the_others(tmp_path):
    whole = touch(tmp_path, *[f"A{ending}.nii.gz" for ending in BRATS_2021])
    touch(tmp_path, "B_flair.nii.gz", "B_t1.nii.gz", "B_t2.nii.gz")
    touch(tmp_path, "C/C_t2.nii.gz")
    touch(tmp_path, *[f"D{ending}.nii.gz" for ending in BRATS_2021], "D_t1gd.nii.gz", "D_T1C.nii")
    touch(tmp_path, "E_t1c.nii.gz", "E_t1gd.nii.gz")
    touch(tmp_path, "F.nii.gz", "F.mha")
    touch(tmp_path, "G.nii.gz", "G_seg.nii.gz", "G-seg.mha")
    touch(tmp_path, "H.nii.gz", "H_t1.nii.gz")
    cases, problems = find_volume_cases(tmp_path)
    assert cases == [VolumeCase("A", whole, None)]
    assert sorted(problems) == [
        f"{tmp_path / 'C'}: case C has T2w (C_t2.nii.gz) but no FLAIR, T1w, T1gd; add what is missing (names that end "
        "in _flair, _t1, _t1ce), or rename the file if it is 4D",
        f"{tmp_path}: case B has FLAIR (B_flair.nii.gz), T1w (B_t1.nii.gz), T2w (B_t2.nii.gz) but no T1gd; add what is "
        "missing (names that end in _t1ce)",
        f"{tmp_path}: case D has FLAIR (D_flair.nii.gz), T1w (D_t1.nii.gz), T1gd (D_T1C.nii, D_t1ce.nii.gz, "
        "D_t1gd.nii.gz), T2w (D_t2.nii.gz); keep one file only of T1gd",
        f"{tmp_path}: case E has T1gd (E_t1c.nii.gz, E_t1gd.nii.gz) but no FLAIR, T1w, T2w; add what is missing (names "
        "that end in _flair, _t1, _t2); keep one file only of T1gd",
        f"{tmp_path}: case F has several images (F.mha, F.nii.gz); rename or remove all but one",
        f"{tmp_path}: case G has 2 labels (G-seg.mha, G_seg.nii.gz); remove or rename all but one",
        f"{tmp_path}: case H has several images (H.nii.gz, H_t1.nii.gz); rename or remove all but one",
    ]


def test_two_cases_of_one_name(tmp_path):
    first = touch(tmp_path, *[f"day1/A{ending}.nii.gz" for ending in BRATS_2021])
    (second,) = touch(tmp_path, "day2/A.nii.gz")
    touch(tmp_path, "day2/B.nii.gz")
    cases, problems = find_volume_cases(tmp_path)
    assert [case.name for case in cases] == ["B"]
    assert problems == [
        f"case A is there 2 times: {first[0]}, {second}; rename all but one, or give one of the folders"
    ]


def test_nothing_there(tmp_path):
    touch(tmp_path, "A_seg.nii.gz", "a.png", "one/two/three/A.nii.gz")
    cases, (problem,) = find_volume_cases(tmp_path)
    assert cases == []
    assert problem.startswith(
        f"{tmp_path}: no volume found in it or up to 2 folders below, expected file names that end in .nii.gz, .nii"
    )


LAYOUTS = st.sampled_from(["single", "flat", "folder", "single with label", "folder with label"])
NAMES = st.text("abcT19-_. ", min_size=1, max_size=6).map("{}7".format)  # ends in no modality and no separator


@given(st.dictionaries(NAMES, LAYOUTS, max_size=6), st.sampled_from([BRATS_2021, BRATS_2023, OTHER]))
@settings(max_examples=40, deadline=None)
def test_each_case_is_found_once_whatever_its_name(layouts, endings):
    with tempfile.TemporaryDirectory() as temporary:
        for name, layout in layouts.items():
            inside = f"folder of {name}/" if "folder" in layout else ""
            files = [f"{name}.nii"] if "single" in layout else [f"{name}{ending}.nii.gz" for ending in endings]
            labels = [f"{name}_seg.nii"] if "label" in layout else []
            touch(Path(temporary), *[f"{inside}{file}" for file in files + labels])
        visible = {name: layout for name, layout in layouts.items() if not name.startswith(".")}
        cases, problems = find_volume_cases(Path(temporary))
    assert [case.name for case in cases] == sorted(visible)
    assert not problems or not visible
    for case in cases:
        assert len(case.images) == (1 if "single" in visible[case.name] else 4)
        assert (case.label is not None) == ("label" in visible[case.name])


@pytest.mark.real_data
def test_a_published_case_beside_phantoms(data_dir, tmp_path):
    published = data_dir / "BraTS2021"
    folder = published / "BraTS2021_01476"
    files = tuple(folder / f"BraTS2021_01476{ending}.nii.gz" for ending in BRATS_2021)
    expected = VolumeCase("BraTS2021_01476", files, folder / "BraTS2021_01476_seg.nii.gz")
    assert find_volume_cases(published) == find_volume_cases(folder) == ([expected], [])
    volume_phantom.make(tmp_path / "mixed", "brats", number=2, shape=(16, 16, 16))
    shutil.copytree(folder, tmp_path / "mixed" / folder.name, copy_function=lambda a, b: Path(b).symlink_to(a))
    cases, problems = find_volume_cases(tmp_path / "mixed")
    assert [case.name for case in cases] == ["BraTS2021_01476", "phantom_001", "phantom_002"]
    assert problems == []


@pytest.mark.real_data
def test_published_4d_files(data_dir):
    cases, problems = find_volume_cases(data_dir / "Task01_BrainTumour" / "imagesTr")
    assert [case.name for case in cases] == [f"BraTS2021_{number:05d}" for number in (1476, 1477, 1478, 1479, 1481)]
    assert problems == []
    # its labels have the images' names, and are no cases
    assert find_volume_cases(data_dir / "Task01_BrainTumour") == (cases, [])


def test_the_decathlon_layout_gives_its_images(tmp_path: Path) -> None:
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (tmp_path / part).mkdir()
        (tmp_path / part / f"BRATS_00{len(part)}{part[-1]}.nii.gz").touch()
    cases, problems = find_volume_cases(tmp_path)
    assert [case.images[0].parent.name for case in cases] == ["imagesTr", "imagesTs"]
    assert not problems
