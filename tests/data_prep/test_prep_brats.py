from __future__ import annotations

import gzip
import json
import shlex
import shutil
from collections import Counter
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from data_prep import brain_check, brats, volume_phantom, volume_statistics
from data_prep.brain_check import check_cases
from data_prep.brats import DATASET
from data_prep.volume_statistics import CaseFacts, bounding_box, statistics
from pu_unet_monai.data import VolumeCase, find_volume_cases, load_datalist
from pu_unet_monai.data.label_numbering import CLASS_NAMES, REGIONS
from pu_unet_monai.transforms import LabelToRegions

SHAPE = (18, 20, 16)
SPLITS = ("training", "validation", "test")
ENDINGS = ("flair", "t1", "t1ce", "t2")
ORIENTATIONS = [
    "".join(code) for axes in permutations(("LR", "PA", "SI")) for code in product(*axes)
]  # all 48 ways to store a volume


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Six phantoms in each layout."""
    folder = tmp_path_factory.mktemp("made")
    for layout in volume_phantom.LAYOUTS:
        volume_phantom.make(folder / layout, layout, number=6, shape=SHAPE)
    return folder


@pytest.fixture
def decathlon(made, tmp_path):
    """A copy of the phantoms in the Decathlon's layout, to change."""
    return shutil.copytree(made / "decathlon", tmp_path / "decathlon")


@pytest.fixture
def brats_source(made, tmp_path):
    """A copy of the phantoms in the layout of BraTS, to change."""
    return shutil.copytree(made / "brats", tmp_path / "brats")


def arguments(source, output, *options):
    return ["--source", source, "--output", output, *options]


def run(*argv):
    return brats.main([str(argument) for argument in argv])


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def change(path, edit=None, affine=None, dtype=None):
    """Save a volume again with other voxels, another affine or another type."""
    image = nibabel.load(path)
    values = np.asarray(image.dataobj)
    values = values if dtype is None else values.astype(dtype)
    if edit is not None:
        edited = edit(values)
        values = values if edited is None else edited
    nibabel.save(nibabel.Nifti1Image(values, image.affine if affine is None else affine), path)


def change_header(path, **fields):
    """Overwrite fields of the header of a file that is kept as it is otherwise."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(content)))


def put(where, value):
    def edit(values):
        values[where] = value

    return edit


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_the_decathlon_layout(decathlon, tmp_path, entries, capsys):
    output = tmp_path / "b.json"
    assert run(*arguments(decathlon, output)) == 0
    content = read_json(output)
    assert content["label_numbering"] == "decathlon"
    assert content["licence"].startswith("CC BY 4.0 (BraTS 2021, TCIA DOI 10.7937/jc8x-9874)")
    assert content["provenance"]["command"] == "python -m data_prep.brats"
    assert content["provenance"]["numbers"]["cases"] == 6
    found = entries(output)
    assert sorted(entry["image"] for entry in found) == [f"imagesTr/phantom_{n:03d}.nii.gz" for n in range(1, 7)]
    assert all(entry["label"] == entry["image"].replace("images", "labels") for entry in found)
    assert not any("channel_order" in entry for entry in found)
    said = capsys.readouterr().out
    assert "training        4 cases" in said
    assert f"wrote {tmp_path / 'b_statistics.json'}" in said
    command = shlex.split(said.splitlines()[-1])
    assert command[command.index("--bundle_root") + 1] == "bundles/pu_unet_brats"
    results = output.with_name(f"{output.stem}_run")
    places = {"dataset_dir": decathlon, "datalist_file": output, "output_dir": results, "ckpt_dir": results / "models"}
    assert command[-8:] == [word for key, place in places.items() for word in (f"--{key}", str(place))]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.json", "b_statistics.json", "decathlon"]


def test_the_brats_layout(brats_source, tmp_path, entries):
    assert run(*arguments(brats_source, tmp_path / "b.json")) == 0
    assert read_json(tmp_path / "b.json")["label_numbering"] == "brats"
    found = {entry["label"]: entry["image"] for entry in entries(tmp_path / "b.json")}
    assert found == {
        f"{name}/{name}_seg.nii.gz": [f"{name}/{name}_{ending}.nii.gz" for ending in ENDINGS]
        for name in [f"phantom_{number:03d}" for number in range(1, 7)]
    }
    loaded = load_datalist(tmp_path / "b.json", brats_source, "training")
    assert len(loaded) == 4
    assert all(Path(path).is_file() for entry in loaded for path in [*entry["image"], entry["label"]])


def test_both_layouts_give_the_same_split_and_statistics(made, tmp_path):
    for layout in ("decathlon", "brats"):
        brats.prepare(made / layout, tmp_path / f"{layout}.json", seed=3)
    contents = [read_json(tmp_path / f"{layout}.json") for layout in ("decathlon", "brats")]
    names = [[Path(entry["label"]).name.replace("_seg", "") for entry in c["training"]] for c in contents]
    assert names[0] == names[1]
    assert (tmp_path / "decathlon_statistics.json").read_bytes() == (tmp_path / "brats_statistics.json").read_bytes()


def test_the_order_of_the_channels_is_read(decathlon, made, tmp_path, entries):
    for path in (decathlon / "imagesTr").iterdir():
        change(path, lambda values: values[..., [3, 0, 2, 1]])  # T2w, FLAIR, T1gd, T1w
    content = read_json(decathlon / "dataset.json")
    content["modality"] = {"3": "T1", "0": "T2", "1": "T2-FLAIR", "2": "t1ce"}
    (decathlon / "dataset.json").write_text(json.dumps(content))
    brats.prepare(decathlon, tmp_path / "b.json")
    entry = entries(tmp_path / "b.json")[0]
    assert entry["channel_order"] == [1, 3, 2, 0]
    image = nibabel.load(decathlon / entry["image"]).get_fdata()
    expected = nibabel.load(made / "decathlon" / entry["image"]).get_fdata()
    np.testing.assert_array_equal(image[..., entry["channel_order"]], expected)


def test_the_same_seed_gives_the_same_bytes(made, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        brats.prepare(made / "brats", tmp_path / name / "d.json", seed=seed)
    for file in ("d.json", "d_statistics.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        assert (tmp_path / "a" / file).read_bytes() != (tmp_path / "c" / file).read_bytes()


def test_folds(made, tmp_path, entries):
    assert run(*arguments(made / "brats", tmp_path / "d.json", "--folds", 3)) == 0
    expected = [f"d_fold{fold}{ending}.json" for fold in range(3) for ending in ("", "_statistics")]
    assert sorted(path.name for path in tmp_path.iterdir()) == expected
    tested = Counter()
    for fold in range(3):
        found = entries(tmp_path / f"d_fold{fold}.json")
        tested.update(entry["label"] for entry in found if entry["split"] == "test")
        content = read_json(tmp_path / f"d_fold{fold}_statistics.json")
        assert content["cases"] == {"training": 2, "validation": 2, "test": 2}
        assert content["command"] == "python -m data_prep.brats --folds 3"
    assert len(tested) == 6
    assert set(tested.values()) == {1}


def test_time_points_of_one_patient_stay_together(made, tmp_path, entries):
    names = ["BraTS-GLI-00000-000", "BraTS-GLI-00000-001", "BraTS-GLI-00001-000", "BraTS-GLI-00002-100", "BraTS2021_5"]
    for number, name in enumerate(names, start=1):
        for path in (made / "brats" / f"phantom_{number:03d}").iterdir():
            target = tmp_path / "source" / path.name.replace(f"phantom_{number:03d}", name)
            target.parent.mkdir(exist_ok=True)
            shutil.copy(path, target)
    brats.prepare(tmp_path / "source", tmp_path / "b.json")
    found = {entry["label"].split("_seg")[0]: entry for entry in entries(tmp_path / "b.json")}
    groups = ["BraTS-GLI-00000", "BraTS-GLI-00000", "BraTS-GLI-00001", "BraTS-GLI-00002", None]
    assert [found[name].get("group") for name in names] == groups
    assert found[names[0]]["split"] == found[names[1]]["split"]
    numbers = read_json(tmp_path / "b.json")["provenance"]["numbers"]
    assert numbers == {"cases": 5, "groups_of_several_cases": 1, "cases_in_these_groups": 2}


def test_each_file_is_read_once(made, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(
        brain_check, "read_volume", lambda path, real=brain_check.read_volume: read.append(path) or real(path)
    )
    brats.prepare(made / "brats", tmp_path / "b.json")
    assert sorted(read) == sorted((made / "brats").rglob("*.nii.gz"))


# --- statistics -------------------------------------------------------------------------------------------------------


def facts(
    name="a", shape=(10, 20, 30), start=(1, 2, 3), end=(5, 6, 7), spacing=(1.0, 1.0, 1.0), voxels=(5997, 1, 2, 0)
):
    return CaseFacts(name, shape, spacing, start, end, dict(zip(CLASS_NAMES, voxels, strict=True)))


def test_statistics_of_the_training_part():
    split = {
        "training": [
            facts("a", start=(1, 2, 3), end=(5, 6, 7), spacing=(1.0, 1.0, 2.0), voxels=(90, 1, 2, 0)),
            facts("b", start=(0, 4, 4), end=(4, 10, 6), spacing=(1.0, 1.0, 2.0), voxels=(100, 3, 4, 0)),
        ],
        "validation": [facts("c", start=(0, 0, 0), end=(10, 20, 30), voxels=(93, 0, 7, 0))],
        "test": [facts("d", shape=(50, 50, 50), voxels=(0, 0, 0, 0))],
    }
    found = statistics(DATASET, split)
    assert found["cases"] == {"training": 2, "validation": 1, "test": 1}
    assert found["orientation"] == "LPS"
    assert found["median_spacing"] == [1, 1, 2]
    assert found["median_shape"] == [10, 20, 30]
    assert found["foreground_box"] == {"start": [0, 2, 3], "end": [5, 10, 7]}
    assert found["foreground_box_reason"] is None
    assert found["foreground_size"] == {"median": [4, 5, 3], "largest": [4, 6, 4]}
    assert found["classes"] == {
        "background": {"voxels": 190, "share": 0.95},
        "non-enhancing core": {"voxels": 4, "share": 0.02},
        "edema": {"voxels": 6, "share": 0.03},
        "enhancing tumour": {"voxels": 0, "share": 0.0},
    }
    assert found["cases_without"] == {
        "TC": {"training": [], "validation": ["c"], "test": ["d"]},
        "WT": {"training": [], "validation": [], "test": ["d"]},
        "ET": {"training": ["a", "b"], "validation": ["c"], "test": ["d"]},
    }
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"shape": (10, 20, 31)}, "the training cases differ in shape: 10x20x30, 10x20x31"),
        ({"spacing": (1.0, 1.0, 1.5)}, "the training cases differ in spacing"),
    ],
)
def test_no_composite_box_without_one_grid(other, reason):
    found = statistics(DATASET, {"training": [facts(), facts("b", **other)], "validation": [], "test": []})
    assert found["foreground_box"] is None
    assert found["foreground_box_reason"] == reason


@pytest.mark.parametrize("number", range(1, 4))
def test_regions_are_those_of_the_transforms(number):
    voxels = [10, 0, 0, 0]
    voxels[number] = 1
    found = statistics(DATASET, {"training": [facts(voxels=voxels)], "validation": [], "test": []})
    present = LabelToRegions("brats")(torch.full((1, 1, 1), number)).flatten()
    for region, has in zip(REGIONS, present.tolist(), strict=True):
        assert found["cases_without"][region]["training"] == ([] if has else ["a"])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 6)), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_the_box_holds_all_and_is_tight(voxels):
    mask = np.zeros((5, 6, 7), dtype=bool)
    mask[tuple(np.transpose(voxels))] = True
    start, end = bounding_box(mask)
    assert start == tuple(np.min(voxels, axis=0))
    assert end == tuple(np.max(voxels, axis=0) + 1)


def write_case(folder, orientation="LPS", endings=ENDINGS, spacing=(1.0, 2.0, 3.0)):
    """Write a case of shape (5, 6, 7) in LPS whose FLAIR is 9 in one voxel and whose T2w in another."""
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    for ending in (*endings, "seg"):
        values = np.zeros((5, 6, 7), dtype=np.int16)
        values[1, 2, 3] = 0 if ending == "seg" else 9
        if ending == "t2":
            values[1, 2, 3], values[3, 1, 5] = 0, 9
        if ending == "seg":
            values[1, 2, 3:5] = 1, 4
        image = nibabel.Nifti1Image(values, affine)
        turn = ornt_transform(io_orientation(affine), axcodes2ornt(orientation))
        nibabel.save(image.as_reoriented(turn), folder / f"a_{ending}.nii")
    return find_volume_cases(folder)[0]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_facts_are_those_of_the_working_orientation(tmp_path, orientation):
    (found,) = check_cases(write_case(tmp_path, orientation), "brats")
    assert (found.name, found.shape, found.start, found.end) == ("a", (5, 6, 7), (1, 1, 3), (4, 3, 6))
    assert found.spacing == pytest.approx((1, 2, 3))
    assert found.voxels == dict(zip(CLASS_NAMES, (208, 1, 0, 1), strict=True))


def test_the_foreground_of_a_4d_file_is_that_of_all_channels(tmp_path):
    files = check_cases(write_case(tmp_path), "brats")
    images = [nibabel.load(tmp_path / f"a_{ending}.nii") for ending in ENDINGS]
    stacked = np.stack([image.dataobj for image in images], axis=-1)
    nibabel.save(nibabel.Nifti1Image(stacked, images[0].affine), tmp_path / "4d.nii")
    assert check_cases([VolumeCase("a", (tmp_path / "4d.nii",), tmp_path / "a_seg.nii")], "brats") == files


# --- bad input --------------------------------------------------------------------------------------------------------


def test_all_bad_files_of_the_brats_layout_are_named_at_once(brats_source, tmp_path, fails):
    def file(number, ending):
        return brats_source / f"phantom_{number:03d}" / f"phantom_{number:03d}_{ending}.nii.gz"

    file(1, "t1").write_bytes(file(1, "t1").read_bytes()[:700])
    file(1, "t2").write_bytes(b"not gzip")
    change(file(2, "t1ce"), put((9, 9, 9), np.nan), dtype=np.float32)
    change(file(3, "t2"), lambda values: values[1:])
    change(file(3, "flair"), lambda values: np.zeros_like(values))
    change(file(4, "seg"), put((0, 0, 0), 7))
    file(5, "t1ce").unlink()
    file(6, "seg").unlink()
    message = fails(brats.main, *arguments(brats_source, tmp_path / "b.json"), folder=tmp_path)
    assert message.startswith("error: 7 bad file(s):\n")
    assert f"{file(1, 't1')}: cannot be read as a volume (" in message
    assert f"{file(1, 't2')}: cannot be read as a volume (" in message
    assert f"{file(2, 't1ce')}: holds values that are NaN or infinite" in message
    assert f"{file(3, 't2')}: 17x20x16 voxels of 1 x 1 x 1 mm from (0, 19, 0), axes LPS, but" in message
    assert f"{file(4, 'seg')}: values 0, 1, 2, 4, 7, expected 0, 1, 2, 3, 4 (brats numbering)" in message
    assert f"{brats_source / 'phantom_005'}: case phantom_005 has FLAIR (phantom_005_flair.nii.gz), T1w" in message
    assert "but no T1gd; add what is missing (names that end in _t1ce)" in message
    assert f"{file(6, 'flair')}: case phantom_006 has no label; add phantom_006_seg beside it" in message


def test_all_bad_files_of_the_decathlon_layout_are_named_at_once(decathlon, tmp_path, fails):
    images, labels = decathlon / "imagesTr", decathlon / "labelsTr"
    names = [f"phantom_{number:03d}.nii.gz" for number in range(1, 7)]
    change(images / names[0], lambda values: values[..., :3])
    change(images / names[1], lambda values: values[..., 0])
    change(images / names[2], put((..., [1, 3]), 0))
    change(labels / names[3], put((0, 0, 0), 4))
    (images / names[4]).unlink()
    change(labels / names[5], lambda values: np.stack([values, values], axis=-1))
    message = fails(brats.main, *arguments(decathlon, tmp_path / "b.json"), folder=tmp_path)
    assert message.startswith("error: 6 bad file(s):\n")
    assert f"{images / names[0]}: 3 channel(s), expected 4 (a 4D file holds FLAIR, T1w, T1gd, T2w" in message
    assert f"{images / names[1]}: 1 channel(s), expected 4" in message
    assert f"{images / names[2]}: T1w, T2w is 0 everywhere; export it again" in message
    assert f"{labels / names[3]}: values 0, 1, 2, 3, 4, expected 0, 1, 2, 3 (decathlon numbering)" in message
    assert f"{images / names[4]}: no such file" in message
    assert f"{labels / names[5]}: 2 channels, expected one label map" in message


LPS = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 19], [0, 0, 1, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (
            LPS * [2, 1, 1, 1],
            "18x20x16 voxels of 2 x 1 x 1 mm from (0, 19, 0), axes LPS",
        ),
        (
            LPS + np.eye(4, k=3),
            "18x20x16 voxels of 1 x 1 x 1 mm from (1, 19, 0), axes LPS",
        ),
        (
            LPS * [-1, 1, 1, 1],
            "18x20x16 voxels of 1 x 1 x 1 mm from (0, 19, 0), axes RPS",
        ),
    ],
    ids=["spacing", "origin", "direction"],
)
@pytest.mark.parametrize("ending", ["t2", "seg"])
def test_modalities_and_label_on_one_grid(brats_source, tmp_path, fails, ending, affine, message):
    path = brats_source / "phantom_001" / f"phantom_001_{ending}.nii.gz"
    change(path, affine=affine)
    found = fails(brats.main, *arguments(brats_source, tmp_path / "b.json"), folder=tmp_path)
    assert found.startswith("error: 1 bad file(s):\n")
    right = "18x20x16 voxels of 1 x 1 x 1 mm from (0, 19, 0), axes LPS"
    assert f"{path}: {message}, but phantom_001_flair.nii.gz has {right}; resample it to that grid" in found


def test_a_difference_within_the_tolerance_of_headers_is_none(brats_source, tmp_path):
    change(brats_source / "phantom_001" / "phantom_001_t2.nii.gz", affine=LPS + 5e-4 * np.eye(4, k=3))
    brats.prepare(brats_source, tmp_path / "b.json")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scl_slope": 2, "scl_inter": np.nan}, "cannot be read as a volume (Valid slope but invalid intercept nan)"),
        ({"srow_x": 0}, "its header has no valid affine; convert the series again"),
        ({"srow_y": np.nan}, "its header has no valid affine; convert the series again"),
        ({"dim": [4, 18, 20, 16, 40, 1, 1, 1]}, "cannot be read as a volume ("),
    ],
    ids=["nan_scaling", "flat", "nan_affine", "truncated"],
)
def test_damaged_headers(decathlon, tmp_path, fails, fields, message):
    path = decathlon / "imagesTr" / "phantom_001.nii.gz"
    change_header(path, **fields)
    found = fails(brats.main, *arguments(decathlon, tmp_path / "b.json"), folder=tmp_path)
    assert found.startswith("error: 1 bad file(s):\n")
    assert f"{path}: {message}" in found


def test_a_file_that_only_its_checksum_shows_to_be_damaged(brats_source, tmp_path, fails):
    path = brats_source / "phantom_001" / "phantom_001_t1.nii.gz"
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    found = fails(brats.main, *arguments(brats_source, tmp_path / "b.json"), folder=tmp_path)
    assert found.startswith("error: 1 bad file(s):\n")
    assert f"{path}: cannot be read as a volume (CRC check failed" in found


@pytest.mark.parametrize("value", [0.5, -1, 300, np.nan])
def test_labels_that_are_no_classes(brats_source, tmp_path, fails, value):
    path = brats_source / "phantom_001" / "phantom_001_seg.nii.gz"
    change(path, put((0, 0, 0), value), dtype=np.float32)
    found = fails(brats.main, *arguments(brats_source, tmp_path / "b.json"), folder=tmp_path)
    assert found.startswith("error: 1 bad file(s):\n")
    expected = "holds values that are NaN" if np.isnan(value) else "values "
    assert f"{path}: {expected}" in found
    assert np.isnan(value) or f"{value:g}" in found


def to_2023(values):
    values[values == 4] = 3


def test_either_number_of_enhancing_tumour_but_not_both(brats_source, tmp_path, fails):
    labels = sorted(brats_source.glob("*/*_seg.nii.gz"))
    with_enhancing = [path for path in labels if 4 in np.unique(nibabel.load(path).dataobj)]
    brats.prepare(brats_source, tmp_path / "a.json")
    change(with_enhancing[1], to_2023)
    message = fails(brats.main, *arguments(brats_source, tmp_path / "b.json"), folder=tmp_path)
    assert message.startswith("error: 1 bad file(s):\n")
    assert f"{with_enhancing[1]}: holds the value 3, but {with_enhancing[0]} 4: both mean enhancing tumour" in message
    for path in labels:
        change(path, to_2023)
    brats.prepare(brats_source, tmp_path / "b.json")
    assert (tmp_path / "a_statistics.json").read_bytes() == (tmp_path / "b_statistics.json").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd"}},
            '"modality" is 0 FLAIR, 1 T1w, 2 t1gd, expected 0 to 3',
        ),
        ({"modality": {"0": "FLAIR", "1": "T1", "2": "T1c", "3": "T1ce"}}, "with one each of FLAIR, T1w, T1gd, T2w"),
        ({"modality": {"0": "CT"}}, '"modality" is 0 CT, expected 0 to 3'),
        ({"modality": {"1": "FLAIR", "2": "T1", "3": "T1c", "4": "T2"}}, '"modality" is 1 FLAIR'),
        ({"modality": None}, "no modality as in the Decathlon's Task01_BrainTumour"),
        ({"labels": {"0": "background", "1": "tumour"}}, '"labels" is 0 background, 1 tumour, expected the numbering'),
        (
            {"labels": {"0": "background", "1": "necrotic / non-enhancing core", "2": "edema", "3": "enhancing"}},
            "expected the numbering of the Decathlon: 0 background, 2 non-enhancing core, 1 edema, 3 enhancing tumour; "
            "renumber the label files",
        ),
        ({"training": {}, "labels": []}, "no labels, training as in the Decathlon's"),
        ({"training": [{"image": "imagesTr/a.nii.gz"}]}, 'expected {"image": path, "label": path} under "training"'),
        ({"training": ["imagesTr/a.nii.gz"]}, 'under "training", found "imagesTr/a.nii.gz"'),
        (
            {"training": [{"image": "../a.nii", "label": "/b.nii"}]},
            "must stay inside the folder, found ../a.nii, /b.nii",
        ),
        (
            {"training": 2 * [{"image": "imagesTr/phantom_001.nii.gz", "label": "labelsTr/phantom_001.nii.gz"}]},
            "case phantom_001 is listed 2 times; remove the others",
        ),
    ],
)
def test_contents_that_are_wrong(decathlon, tmp_path, fails, change, message):
    path = decathlon / "dataset.json"
    path.write_text(json.dumps(read_json(path) | change))
    found = fails(brats.main, *arguments(decathlon, tmp_path / "b.json"), folder=tmp_path)
    assert str(path) in found
    assert message in found


@pytest.mark.parametrize("text", ["{", "[]", '"modality labels training"'])
def test_contents_that_are_no_json_object(decathlon, tmp_path, fails, text):
    (decathlon / "dataset.json").write_text(text)
    message = fails(brats.main, *arguments(decathlon, tmp_path / "b.json"), folder=tmp_path)
    assert message.startswith(f"error: {decathlon / 'dataset.json'}: ")


def test_nothing_to_prepare(tmp_path, fails):
    (tmp_path / "empty").mkdir()
    message = fails(brats.main, *arguments(tmp_path / "empty", tmp_path / "b.json"), folder=tmp_path)
    assert (
        f"{tmp_path / 'empty'}: no volume found in it or up to 2 folders below, expected file names that end in .nii.gz"
        in message
    )
    message = fails(brats.main, *arguments(tmp_path / "none", tmp_path / "b.json"), folder=tmp_path)
    assert message.startswith("error: 1 folder(s) not found:\n")


def test_too_few_cases_are_said_before_all_files_are_read(made, tmp_path, fails, monkeypatch):
    monkeypatch.setattr(brain_check, "read_volume", lambda path: pytest.fail(f"{path} was read"))
    for options, message in [
        (["--folds", 2], "--folds 2: expected at least 3"),
        (["--folds", 7], "--folds 7: 6 case(s)"),
    ]:
        assert message in fails(brats.main, *arguments(made / "brats", tmp_path / "b.json", *options), folder=tmp_path)


def test_outputs_that_are_refused(decathlon, tmp_path, fails):
    contents = decathlon / "dataset.json"
    message = fails(brats.main, *arguments(decathlon, contents), folder=tmp_path)
    assert f"--output {contents}: exists and is not a datalist" in message
    other = tmp_path / "b_statistics.json"
    other.write_text('{"classes": 3}')
    message = fails(brats.main, *arguments(decathlon, tmp_path / "b.json"), folder=tmp_path)
    assert f"{other}: exists and is not statistics of ours; choose another --output or remove it" in message
    assert other.read_text() == '{"classes": 3}'


def test_older_results_are_replaced(made, tmp_path):
    for seed in (1, 2):
        brats.prepare(made / "brats", tmp_path / "b.json", seed=seed)
    assert read_json(tmp_path / "b.json")["provenance"]["seed"] == 2


def test_statistics_come_before_the_datalist(made, tmp_path, monkeypatch):
    def stop(path, content):
        raise KeyboardInterrupt

    monkeypatch.setattr(volume_statistics, "write", stop)
    assert run(*arguments(made / "brats", tmp_path / "b.json")) == 130
    assert not list(tmp_path.iterdir())


# --- real data --------------------------------------------------------------------------------------------------------

# voxels of non-enhancing core, edema and enhancing tumour; first and one past last non-zero voxel in x, y, z: found
# with nibabel and numpy alone
REAL = {
    "BraTS2021_01476": ((23189, 27760, 224), ((50, 47, 0), (187, 210, 135))),
    "BraTS2021_01477": ((77985, 117448, 0), ((49, 46, 3), (190, 211, 142))),
    "BraTS2021_01478": ((110787, 118819, 1276), ((53, 43, 6), (187, 215, 145))),
    "BraTS2021_01479": ((93298, 7407, 89546), ((51, 53, 0), (187, 214, 139))),
    "BraTS2021_01481": ((1501, 52436, 2575), ((48, 41, 0), (190, 217, 137))),
}


@pytest.mark.real_data
def test_task01(data_dir, tmp_path, entries):
    source = data_dir / "Task01_BrainTumour"
    brats.prepare(source, tmp_path / "b.json")
    found = {Path(entry["image"]).name.removesuffix(".nii.gz"): entry for entry in entries(tmp_path / "b.json")}
    assert sorted(found) == list(REAL)
    assert Counter(entry["split"] for entry in found.values()) == {"training": 3, "validation": 1, "test": 1}
    content = read_json(tmp_path / "b_statistics.json")
    assert content["median_spacing"] == [1, 1, 1]
    assert content["median_shape"] == [240, 240, 155]
    training = [name for name, entry in found.items() if entry["split"] == "training"]
    for number, name in enumerate(CLASS_NAMES[1:]):
        assert content["classes"][name]["voxels"] == sum(REAL[case][0][number] for case in training)
    assert sum(entry["voxels"] for entry in content["classes"].values()) == 3 * 240 * 240 * 155
    assert [names for names in content["cases_without"]["ET"].values() if names] == [["BraTS2021_01477"]]
    boxes = np.array([REAL[case][1] for case in training])
    assert content["foreground_box"] == {
        "start": boxes[:, 0].min(axis=0).tolist(),
        "end": boxes[:, 1].max(axis=0).tolist(),
    }


@pytest.mark.real_data
def test_one_patient_in_both_layouts_has_the_same_facts(data_dir):
    (case,), _ = find_volume_cases(data_dir / "BraTS2021")
    task = data_dir / "Task01_BrainTumour"
    same = VolumeCase(
        case.name, (task / "imagesTr" / f"{case.name}.nii.gz",), task / "labelsTr" / f"{case.name}.nii.gz"
    )
    assert check_cases([case], "brats") == check_cases([same], "decathlon")


@pytest.mark.real_data
def test_a_real_case_among_phantoms(data_dir, brats_source, tmp_path, entries):
    (brats_source / "BraTS2021_01476").symlink_to(data_dir / "BraTS2021" / "BraTS2021_01476")
    brats.prepare(brats_source, tmp_path / "b.json", seed=1)
    found = entries(tmp_path / "b.json")
    assert len(found) == 7
    part = next(entry["split"] for entry in found if "01476" in entry["label"])
    content = read_json(tmp_path / "b_statistics.json")
    assert (content["foreground_box"] is None) == (part == "training")
