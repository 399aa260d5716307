"""Images and masks of every mode, read as RGB and as 0 and 1."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pu_unet_monai.data.readers import read_mask, read_rgb
from pu_unet_monai.errors import UserError
from pu_unet_monai.transforms import LoadMask, LoadMaskd, LoadRGB, LoadRGBd

GREY = np.array([[0, 100, 255], [10, 200, 50]], np.uint8)
MASK = np.array([[0, 1, 1], [0, 0, 1]], bool)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "I;16"])
def test_every_mode_becomes_rgb(mode, tmp_path):
    image = Image.fromarray(GREY.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(GREY).convert(mode)
    image.save(tmp_path / "image.png")
    rgb = np.asarray(read_rgb(tmp_path / "image.png"))
    assert rgb.shape == (2, 3, 3)
    assert np.array_equal(rgb, np.stack([GREY] * 3, axis=-1))


def test_1_bit_becomes_rgb(tmp_path):
    Image.fromarray(MASK).save(tmp_path / "image.png")
    assert np.array_equal(np.asarray(read_rgb(tmp_path / "image.png"))[..., 0], MASK * 255)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "1", "I;16"])
def test_every_mode_becomes_a_mask(mode, tmp_path):
    white = Image.fromarray(MASK.astype(np.uint8) * 255)
    image = Image.fromarray(MASK.astype(np.uint16) * 65535) if mode == "I;16" else white.convert(mode)
    image.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), MASK)


def test_mask_of_0_and_1(tmp_path):
    Image.fromarray(MASK.astype(np.uint8)).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), MASK)


def test_grey_edges_of_a_jpeg_mask(tmp_path):
    square = np.zeros((64, 64), np.uint8)
    square[16:48, 20:50] = 255
    Image.fromarray(square).save(tmp_path / "mask.jpg", quality=75)
    assert len(np.unique(np.asarray(Image.open(tmp_path / "mask.jpg")))) > 2
    assert np.array_equal(read_mask(tmp_path / "mask.jpg"), square > 0)


def test_map_of_several_labels_is_refused(tmp_path):
    Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8)).save(tmp_path / "labels.png")
    with pytest.raises(UserError, match=r"labels\.png: .*expected 0 and 255"):
        read_mask(tmp_path / "labels.png")


def test_exif_orientation_is_applied_to_image_and_mask(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side, shown turned by 90 degrees
    stored = np.zeros((20, 40), np.uint8)
    stored[:, 30:] = 255
    Image.fromarray(stored).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    assert read_rgb(tmp_path / "photo.jpg").size == (20, 40)
    assert np.array_equal(read_mask(tmp_path / "photo.jpg"), np.rot90(stored, -1) > 0)


@pytest.mark.parametrize("content", [b"", b"no image", "truncated", "missing"])
def test_unreadable_image_is_named(content, tmp_path):
    path = tmp_path / "image.png"
    if content == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif content != "missing":
        path.write_bytes(content)
    for read in (read_rgb, read_mask):
        with pytest.raises(UserError, match=r"image\.png: (not a readable image|no such file)"):
            read(path)


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


@pytest.mark.real_data
def test_real_masks_of_busi(data_dir):
    """Two masks are RGBA, others 1-bit: all hold a lesion, and those of the normal class none."""
    folder = data_dir / "Dataset_BUSI_with_GT"
    modes = {}
    for path in sorted(folder.glob("*/*_mask*.png")):
        with Image.open(path) as image:
            modes[path] = image.mode
    assert len(modes) == 798
    unusual = [path for path, mode in modes.items() if mode == "RGBA"]
    assert len(unusual) == 2
    for path in unusual:
        assert 0 < read_mask(path).mean() < 0.9
    assert not any(read_mask(path).any() for path in modes if path.parent.name == "normal")
    assert all(read_mask(path).any() for path in modes if path.parent.name == "malignant")
