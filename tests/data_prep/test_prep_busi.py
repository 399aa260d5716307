from __future__ import annotations

import json
import shutil
from collections import Counter

import numpy as np
from PIL import Image

from data_prep import busi


def test_each_image_once_with_its_class_and_masks(busi_source, tmp_path, entries, capsys):
    assert busi.main(["--source", str(busi_source), "--output", str(tmp_path / "b.json")]) == 0
    found = entries(tmp_path / "b.json")
    assert {entry["image"] for entry in found} == {
        path.relative_to(busi_source).as_posix() for path in busi_source.glob("*/*).png")
    }
    assert len(found) == 40
    assert all(entry["image"].startswith(f"{entry['class']}/") for entry in found)
    assert all("group" in entry for entry in found)
    several = [entry for entry in found if isinstance(entry["label"], list)]
    assert several
    stem = several[0]["image"].removesuffix(".png")
    assert several[0]["label"] == [f"{stem}_mask.png", f"{stem}_mask_1.png"]
    single = next(entry for entry in found if isinstance(entry["label"], str))
    assert single["label"] == single["image"].replace(".png", "_mask.png")
    assert " normal" in capsys.readouterr().out


def test_near_duplicates_share_a_group_and_a_split(busi_source, tmp_path, entries):
    twin = busi_source / "malignant" / "malignant (99).png"
    with Image.open(busi_source / "benign" / "benign (1).png") as image:
        moved = np.roll(np.asarray(image), 3, axis=1)
    Image.fromarray((0.8 * moved + 20).astype(np.uint8)).save(twin)
    shutil.copy(busi_source / "benign" / "benign (1)_mask.png", twin.with_name("malignant (99)_mask.png"))
    busi.prepare(busi_source, tmp_path / "b.json")
    members = [entry for entry in entries(tmp_path / "b.json") if entry["group"] == "benign (1)"]
    assert {entry["image"] for entry in members} == {"benign/benign (1).png", "malignant/malignant (99).png"}
    assert len({entry["split"] for entry in members}) == 1
    numbers = json.loads((tmp_path / "b.json").read_text())["provenance"]["numbers"]
    assert numbers == {"images": 41, "groups_of_several_images": 1, "images_in_these_groups": 2}


def test_without_normal(busi_source, tmp_path, entries):
    arguments = ["--source", str(busi_source), "--output", str(tmp_path / "b.json"), "--without-normal"]
    assert busi.main(arguments) == 0
    assert set(Counter(entry["class"] for entry in entries(tmp_path / "b.json"))) == {"benign", "malignant"}
    provenance = json.loads((tmp_path / "b.json").read_text())["provenance"]
    assert provenance["command"] == "python -m data_prep.busi --without-normal"


def test_files_that_are_missing_or_left_over(busi_source, tmp_path, fails):
    benign = busi_source / "benign"
    (benign / "benign (1)_mask.png").rename(benign / "benign (777)_mask.png")
    (benign / "benign (2)_mask.png").rename(benign / "copy of mask.png")
    message = fails(busi.main, "--source", busi_source, "--output", tmp_path / "b.json", folder=tmp_path)
    assert message.startswith("error: 4 bad file(s):\n")
    assert f"{benign / 'benign (1).png'}: no mask benign (1)_mask.png" in message
    assert f"{benign / 'benign (2).png'}: no mask benign (2)_mask.png" in message
    assert f"{benign / 'benign (777)_mask.png'}: no image for this mask" in message
    assert f"{benign / 'copy of mask.png'}: expected a name like 'benign (1).png'" in message


def test_an_empty_class(busi_source, tmp_path, fails):
    shutil.rmtree(busi_source / "normal")
    (busi_source / "normal").mkdir()
    message = fails(busi.main, "--source", busi_source, "--output", tmp_path / "b.json", folder=tmp_path)
    assert f"{busi_source / 'normal'}: no image found, expected files like 'normal (1).png'" in message


def test_a_second_mask_is_checked_too(busi_source, tmp_path, fails):
    bad = next(busi_source.glob("*/*_mask_1.png"))
    Image.new("1", (5, 5)).save(bad)
    message = fails(busi.main, "--source", busi_source, "--output", tmp_path / "b.json", folder=tmp_path)
    assert f"{bad}: size 5x5, but the image" in message
