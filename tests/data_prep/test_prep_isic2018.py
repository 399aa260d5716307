from __future__ import annotations

import json
import shutil

from data_prep import isic2018

PARTS = ("Training", "Validation", "Test")


def folders(source, part):
    return source / f"ISIC2018_Task1-2_{part}_Input", source / f"ISIC2018_Task1_{part}_GroundTruth"


def test_without_official_split(isic_source, tmp_path, entries, capsys):
    assert isic2018.main(["--source", str(isic_source), "--output", str(tmp_path / "i.json")]) == 0
    assert "no official split (ISIC2018_Task1-2_Validation_Input" in capsys.readouterr().out
    found = entries(tmp_path / "i.json")
    assert len({entry["image"] for entry in found}) == len(found) == 12
    assert found[0]["image"].startswith("ISIC2018_Task1-2_Training_Input/ISIC_")
    assert found[0]["label"].startswith("ISIC2018_Task1_Training_GroundTruth/ISIC_")
    assert found[0]["label"].endswith("_segmentation.png")


def test_official_split(isic_source, tmp_path, entries, capsys):
    for part in PARTS[1:]:
        for training, other in zip(folders(isic_source, "Training"), folders(isic_source, part), strict=True):
            shutil.copytree(training, other)
    isic2018.prepare(isic_source, tmp_path / "i.json")
    assert "no official split" not in capsys.readouterr().out
    assert json.loads((tmp_path / "i.json").read_text())["provenance"]["split"] == "official"
    for entry in entries(tmp_path / "i.json"):
        assert f"_{entry['split'].capitalize()}_Input/" in entry["image"]
        assert f"_{entry['split'].capitalize()}_GroundTruth/" in entry["label"]


def test_superpixels_and_licences_are_no_images(isic_source, tmp_path, entries):
    images, _ = folders(isic_source, "Training")
    (images / "ISIC_0000001_superpixels.png").write_bytes(b"")
    (images / "LICENSE.txt").write_text("")
    isic2018.prepare(isic_source, tmp_path / "i.json")
    assert len(entries(tmp_path / "i.json")) == 12


def test_copies_share_a_group(isic_source, tmp_path, entries):
    images, masks = folders(isic_source, "Training")
    shutil.copy(images / "ISIC_0000001.jpg", images / "ISIC_0000999.jpg")
    shutil.copy(masks / "ISIC_0000001_segmentation.png", masks / "ISIC_0000999_segmentation.png")
    isic2018.prepare(isic_source, tmp_path / "i.json")
    groups = {entry["image"][-16:-4]: entry["group"] for entry in entries(tmp_path / "i.json")}
    assert groups["ISIC_0000999"] == groups["ISIC_0000001"] == "ISIC_0000001"


def test_a_mask_is_missing(isic_source, tmp_path, fails):
    images, masks = folders(isic_source, "Training")
    (masks / "ISIC_0000003_segmentation.png").unlink()
    message = fails(isic2018.main, "--source", isic_source, "--output", tmp_path / "i.json", folder=tmp_path)
    assert (
        f"{images / 'ISIC_0000003.jpg'}: no mask ISIC_0000003_segmentation or ISIC_0000003_Segmentation in {masks}"
        in message
    )
