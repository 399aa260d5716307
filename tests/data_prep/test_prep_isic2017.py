from __future__ import annotations

import json
import shutil

import pytest

from data_prep import isic2017, isic2018

SIZES = {"training": 9, "validation": 2, "test": 1}
PARTS = {"training": "Training", "validation": "Validation", "test": "Test_v2"}


def folders(source, split):
    return source / f"ISIC-2017_{PARTS[split]}_Data", source / f"ISIC-2017_{PARTS[split]}_Part1_GroundTruth"


def copy_case(source, stem, split, to_stem, to_split):
    """Copy an image and its mask under another name, into another part."""
    endings = (".jpg", "_segmentation.png")
    for folder, other, ending in zip(folders(source, split), folders(source, to_split), endings, strict=True):
        shutil.copy(folder / f"{stem}{ending}", other / f"{to_stem}{ending}")


def test_the_official_split_is_kept_in_order(isic2017_source, tmp_path, entries):
    output = tmp_path / "i.json"
    assert isic2017.main(["--source", str(isic2017_source), "--output", str(output)]) == 0
    found = entries(output)
    for split, size in SIZES.items():
        images, masks = folders(isic2017_source, split)
        chosen = [entry for entry in found if entry["split"] == split]
        assert len(chosen) == size
        assert [isic2017_source / entry["image"] for entry in chosen] == sorted(images.iterdir())
        assert [isic2017_source / entry["label"] for entry in chosen] == sorted(masks.iterdir())
        assert all(entry["label"].endswith("_segmentation.png") for entry in chosen)
    provenance = json.loads(output.read_text())["provenance"]
    assert (provenance["split"], provenance["seed"]) == ("official", None)
    assert provenance["numbers"]["groups_in_several_parts"] == 0


def test_other_numbers_than_published_are_said(isic2017_source, tmp_path, monkeypatch, capsys):
    isic2017.prepare(isic2017_source, tmp_path / "i.json")
    printed = capsys.readouterr().out
    numbers = "training has 9 (published 2000), validation has 2 (published 150), test has 1 (published 600)"
    assert f"notice: not the published number of images, so scores cannot be compared: {numbers}\n" in printed
    assert "--config_file bundles/r2_unet_isic2017/configs/train.json" in printed
    monkeypatch.setattr(isic2017, "PUBLISHED", SIZES)
    isic2017.prepare(isic2017_source, tmp_path / "i.json")
    assert "notice" not in capsys.readouterr().out


def test_masks_may_be_spelt_as_on_the_pages_of_the_challenge(isic2017_source, tmp_path, entries):
    _, masks = folders(isic2017_source, "training")
    for path in masks.iterdir():
        path.rename(path.with_name(path.name.replace("_segmentation", "_Segmentation")))
    isic2017.prepare(isic2017_source, tmp_path / "i.json")
    assert sum(entry["label"].endswith("_Segmentation.png") for entry in entries(tmp_path / "i.json")) == 9


def test_superpixels_tables_and_licences_are_no_images(isic2017_source, tmp_path, entries):
    images, masks = folders(isic2017_source, "training")
    (images / "ISIC_0000001_superpixels.png").write_bytes(b"")
    (images / "ISIC-2017_Training_Data_metadata.csv").write_text("image_id,age_approximate,sex\n")
    (masks / "LICENSE.txt").write_text("")
    isic2017.prepare(isic2017_source, tmp_path / "i.json")
    assert len(entries(tmp_path / "i.json")) == 12


def test_copies_across_parts_are_reported_and_stay(isic2017_source, tmp_path, entries, capsys):
    copy_case(isic2017_source, "ISIC_0000001", "training", "ISIC_0000999", "test")
    copy_case(isic2017_source, "ISIC_0000004", "training", "ISIC_0000888", "training")
    isic2017.prepare(isic2017_source, tmp_path / "i.json")
    printed = capsys.readouterr().out
    assert "notice: 1 group(s) of images that look the same are in several parts of the official split" in printed
    assert "  ISIC_0000001 (training), ISIC_0000999 (test)\n" in printed
    assert "ISIC_0000888" not in printed
    found = {entry["image"][-16:-4]: entry for entry in entries(tmp_path / "i.json")}
    assert found["ISIC_0000999"]["split"] == "test"
    assert found["ISIC_0000999"]["group"] == found["ISIC_0000001"]["group"] == "ISIC_0000001"
    numbers = json.loads((tmp_path / "i.json").read_text())["provenance"]["numbers"]
    assert numbers == {
        "images": 14,
        "groups_of_several_images": 2,
        "images_in_these_groups": 4,
        "groups_in_several_parts": 1,
    }


def test_all_missing_folders_are_named(isic2017_source, tmp_path, fails):
    missing = [*folders(isic2017_source, "validation"), folders(isic2017_source, "test")[1]]
    for folder in missing:
        shutil.rmtree(folder)
    message = fails(isic2017.main, "--source", isic2017_source, "--output", tmp_path / "i.json", folder=tmp_path)
    assert message.startswith("error: 3 folder(s) not found:")
    assert all(str(folder) in message for folder in missing)


def test_missing_and_extra_files_of_all_parts_are_named(isic2017_source, tmp_path, fails):
    images, masks = folders(isic2017_source, "training")
    test_images, test_masks = folders(isic2017_source, "test")
    (masks / "ISIC_0000001_segmentation.png").unlink()
    shutil.copy(masks / "ISIC_0000004_segmentation.png", test_masks / "ISIC_0000777_segmentation.png")
    message = fails(isic2017.main, "--source", isic2017_source, "--output", tmp_path / "i.json", folder=tmp_path)
    assert message.startswith("error: 2 bad file(s):")
    assert (
        f"{images / 'ISIC_0000001.jpg'}: no mask ISIC_0000001_segmentation or ISIC_0000001_Segmentation in {masks}"
        in message
    )
    assert f"{test_masks / 'ISIC_0000777_segmentation.png'}: no image for this mask in {test_images}" in message


def test_nothing_is_drawn_so_there_is_no_seed(isic2017_source, tmp_path):
    with pytest.raises(SystemExit) as error:
        isic2017.main(["--source", str(isic2017_source), "--output", str(tmp_path / "i.json"), "--seed", "1"])
    assert error.value.code == 2


def test_no_advice_on_splits_where_the_split_is_official(isic2017_source, tmp_path, capsys):
    """The published parts are uneven, with 600 images to test and 150 to validate."""
    for number in range(5):
        copy_case(isic2017_source, "ISIC_0000001", "training", f"ISIC_00005{number:02d}", "test")
    isic2017.prepare(isic2017_source, tmp_path / "i.json")
    assert "--folds" not in capsys.readouterr().out
    for split, part in {"training": "Training", "validation": "Validation", "test": "Test"}.items():
        names = f"ISIC2018_Task1-2_{part}_Input", f"ISIC2018_Task1_{part}_GroundTruth"
        for folder, name in zip(folders(isic2017_source, split), names, strict=True):
            shutil.copytree(folder, isic2017_source / name)
    isic2018.prepare(isic2017_source, tmp_path / "i.json")
    printed = capsys.readouterr().out
    assert "test            6 images" in printed
    assert "--folds" not in printed
