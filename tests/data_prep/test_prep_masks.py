from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from data_prep.masks import read_mask
from pu_unet_monai.errors import UserError

SQUARE = np.zeros((20, 30), dtype=np.uint8)
SQUARE[5:15, 10:25] = 255
EXPECTED = SQUARE > 0

FORMS = {
    "greyscale.png": Image.fromarray(SQUARE),
    "zero_one.png": Image.fromarray(SQUARE // 255),
    "one_bit.png": Image.fromarray(SQUARE).convert("1"),
    "rgb.bmp": Image.fromarray(SQUARE).convert("RGB"),
    "grey_alpha.png": Image.merge("LA", [Image.fromarray(SQUARE), Image.new("L", (30, 20), 255)]),
    "palette.png": Image.fromarray(SQUARE).convert("P"),
    "sixteen_bit.png": Image.fromarray(SQUARE.astype(np.uint16) * 257),
    "sixteen_bit_255.png": Image.fromarray(SQUARE.astype(np.uint16)),
    "sixteen_bit_zero_one.tif": Image.fromarray(SQUARE.astype(np.uint16) // 255),
    "jpeg.jpg": Image.fromarray(SQUARE),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_the_same_mask_reads_the_same(tmp_path, name):
    FORMS[name].save(tmp_path / name)
    mask = read_mask(tmp_path / name)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, EXPECTED)


@pytest.mark.parametrize("alpha", [0, 255], ids=["transparent", "opaque"])
def test_transparency_is_dropped(tmp_path, alpha):
    Image.merge("RGBA", [*[Image.fromarray(SQUARE)] * 3, Image.new("L", (30, 20), alpha)]).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), EXPECTED)


def test_grey_edges_of_a_jpeg_are_cut_at_127(tmp_path):
    grey = np.asarray(Image.fromarray(SQUARE).resize((90, 60), Image.Resampling.BICUBIC))
    Image.fromarray(grey).save(tmp_path / "m.jpg", quality=60)
    with Image.open(tmp_path / "m.jpg") as image:
        stored = np.asarray(image)
    assert len(np.unique(stored)) > 2
    np.testing.assert_array_equal(read_mask(tmp_path / "m.jpg"), stored > 127)


def test_an_empty_mask_is_empty(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "m.png")
    assert not read_mask(tmp_path / "m.png").any()


@pytest.mark.parametrize("values", [[0, 1, 2, 3], [0, 127], [0, 2]])
def test_a_label_map_is_refused(tmp_path, values):
    Image.fromarray(np.array([values] * 4, dtype=np.uint8)).save(tmp_path / "m.png")
    found = f"values {', '.join(map(str, values))}, expected 0 and 255 (or 0 and 1)"
    with pytest.raises(UserError, match=rf"m\.png: {re.escape(found)}"):
        read_mask(tmp_path / "m.png")


def test_a_picture_is_refused(tmp_path):
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "m.png")
    with pytest.raises(UserError, match=r"values 0, 1, 2, 3, 4, 5, 6, 7, \.\.\. 255, expected 0 and 255 only"):
        read_mask(tmp_path / "m.png")
