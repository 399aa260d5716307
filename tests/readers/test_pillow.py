"""Images and masks of every mode, read as RGB and as 0 and 1."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pu_unet_monai.errors import UserError
from pu_unet_monai.transforms import LoadMask, LoadMaskd, LoadRGB, LoadRGBd

GREY = np.array([[0, 100, 255], [10, 200, 50]], np.uint8)
MASK = np.array([[0, 1, 1], [0, 0, 1]], bool)


def test_transforms_follow_monai_conventions(tmp_path):
    """Channel first, and the first spatial axis is the width, as with MONAI's PILReader."""
    Image.fromarray(np.stack([GREY] * 3, axis=-1)).save(tmp_path / "image.png")
    image = LoadRGB()(tmp_path / "image.png")
    assert image.shape == (3, 3, 2)
    assert np.array_equal(image[0].numpy().T, GREY)
    assert image.meta["filename_or_obj"] == str(tmp_path / "image.png")
    loaded = LoadRGBd("image")({"image": str(tmp_path / "image.png")})
    assert np.array_equal(loaded["image"], image)


def test_several_masks_are_merged(tmp_path):
    for name, column in (("a", 0), ("b", 2)):
        mask = np.zeros((2, 3), np.uint8)
        mask[:, column] = 255
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    paths = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    merged = LoadMask()(paths)
    assert merged.shape == (1, 3, 2)
    assert merged[0].numpy().T.tolist() == [[1, 0, 1], [1, 0, 1]]
    assert np.array_equal(LoadMaskd("label")({"label": paths})["label"], merged)
    assert LoadMask()(paths[0]).sum() == 2


def test_masks_of_different_size_are_refused(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    Image.new("L", (4, 5)).save(tmp_path / "b.png")
    with pytest.raises(UserError, match=r"differ in size: a\.png 4x4, b\.png 4x5"):
        LoadMask()([str(tmp_path / "a.png"), str(tmp_path / "b.png")])
