"""The real datasets, found through ``PU_UNET_DATA_DIR``."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from pu_unet_monai.images import read_mask

pytestmark = pytest.mark.real_data


def assert_whole(found, number):
    """Check that each image is there once and that no group is in two splits."""
    assert len({entry["image"] for entry in found}) == len(found) == number
    assert len({(entry["group"], entry["split"]) for entry in found}) == len({entry["group"] for entry in found})


def sizes(found):
    counts = Counter(entry["split"] for entry in found)
    return counts["training"], counts["validation"], counts["test"]


def numbers(path):
    return json.loads(path.read_text())["provenance"]["numbers"]


def test_kvasir(prepared, entries):
    _, output = prepared("kvasir")
    found = entries(output)
    assert_whole(found, 1000)
    assert sizes(found) == (800, 100, 100)
    assert numbers(output) == {"images": 1000, "groups_of_several_images": 9, "images_in_these_groups": 19}


def test_busi(prepared, entries):
    _, output = prepared("busi")
    found = entries(output)
    assert_whole(found, 780)
    assert Counter(entry["class"] for entry in found) == {"benign": 437, "malignant": 210, "normal": 133}
    several = [entry["label"] for entry in found if isinstance(entry["label"], list)]
    assert len(several) == 17
    assert sum(map(len, several)) + 780 - 17 == 798
    by_image = {entry["image"]: entry for entry in found}
    first, second = by_image["benign/benign (433).png"], by_image["malignant/malignant (145).png"]
    assert (first["group"], first["split"]) == (second["group"], second["split"])
    assert numbers(output) == {"images": 780, "groups_of_several_images": 158, "images_in_these_groups": 367}
    for split, size in zip(("training", "validation", "test"), (624, 78, 78), strict=True):
        counts = Counter(entry["class"] for entry in found if entry["split"] == split)
        assert counts["benign"] / size == pytest.approx(437 / 780, abs=0.03)


def test_busi_masks_with_transparency(data_dir):
    paths = []
    for path in sorted((data_dir / "Dataset_BUSI_with_GT").glob("*/*_mask*.png")):
        with Image.open(path) as image:
            if image.mode == "RGBA":
                paths.append(path)
                red = np.asarray(image)[..., 0]
                np.testing.assert_array_equal(read_mask(path), red > 127)
    assert len(paths) == 2
    assert all(0.001 < read_mask(path).mean() < 0.5 for path in paths)


def test_isic2018(prepared, entries):
    _, output = prepared("isic2018")
    found = entries(output)
    assert_whole(found, 2594)
    assert sizes(found) == (2074, 260, 260)
    assert numbers(output) == {"images": 2594, "groups_of_several_images": 41, "images_in_these_groups": 82}
