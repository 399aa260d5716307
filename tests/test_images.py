"""Images and masks of every mode, read as RGB and as booleans."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from pu_unet_monai.errors import UserError
from pu_unet_monai.images import read_mask, read_rgb

GREY = np.array([[0, 100, 255], [10, 200, 50]], np.uint8)
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


def test_a_tiff_of_several_pages_is_refused(tmp_path):
    """Of a stack of masks only the first would be read."""
    pages = [Image.fromarray(SQUARE), Image.fromarray(255 - SQUARE)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    for read in (read_mask, read_rgb):
        with pytest.raises(UserError, match=r"stack\.tif: 2 pages, expected one image; save each page"):
            read(tmp_path / "stack.tif")


def test_a_smaller_copy_in_a_tiff_is_no_page(tmp_path):
    copy = Image.fromarray(SQUARE).resize((15, 10))
    copy.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(SQUARE).save(tmp_path / "a.tif", save_all=True, append_images=[copy])
    with Image.open(tmp_path / "a.tif") as image:
        assert image.n_frames == 2
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), EXPECTED)


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
    Image.fromarray((np.arange(64 * 64).reshape(64, 64) // 16).astype(np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(UserError, match=r"values 0, 1, 2, 3, 4, 5, 6, 7, \.\.\. 255, expected 0 and 255 only"):
        read_mask(tmp_path / "m.png")


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "I;16"])
def test_every_mode_becomes_rgb(mode, tmp_path):
    image = Image.fromarray(GREY.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(GREY).convert(mode)
    image.save(tmp_path / "image.png")
    rgb = np.asarray(read_rgb(tmp_path / "image.png"))
    assert rgb.shape == (2, 3, 3)
    assert np.array_equal(rgb, np.stack([GREY] * 3, axis=-1))


def test_1_bit_becomes_rgb(tmp_path):
    Image.fromarray(EXPECTED).save(tmp_path / "image.png")
    assert np.array_equal(np.asarray(read_rgb(tmp_path / "image.png"))[..., 0], EXPECTED * 255)


def test_exif_orientation_is_applied_to_image_and_mask(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side, shown turned by 90 degrees
    stored = np.zeros((20, 40), np.uint8)
    stored[:, 30:] = 255
    Image.fromarray(stored).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    assert read_rgb(tmp_path / "photo.jpg").size == (20, 40)
    assert np.array_equal(read_mask(tmp_path / "photo.jpg"), np.rot90(stored, -1) > 0)


def write_photo(path, change=lambda block: block):
    """Write a photo that lies on its side, of a camera that says who made it."""
    exif = Image.Exif()
    exif[0x010F] = "a maker of cameras"
    exif[0x0112] = 6
    Image.fromarray(SQUARE).save(path, exif=change(exif.tobytes()), quality=95)


def test_exif_orientation_is_found_behind_a_damaged_tag(tmp_path):
    write_photo(tmp_path / "photo.jpg", lambda block: block.replace(b"a maker of cameras", b""))
    assert np.array_equal(read_mask(tmp_path / "photo.jpg"), np.rot90(SQUARE, -1) > 0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            b"\x01\x12\0\x03\0\0\0\x01\0\x06",
            b"\x01\x12\0\x03\0\0\0\x01\0\x26",
            "its EXIF orientation is 38, expected 1 to 8",
        ),
        (b"\x01\x12\0\x03\0\0\0\x01", b"\x01\x12\0\x03\0\0\0\x02", "its EXIF data have 2 orientations"),
        (b"\x01\x12\0\x03", b"\x01\x12\0\x63", "its EXIF data are damaged"),
        (b"MM\0*", b"MM\0+", "its EXIF data are damaged"),
        (b"MM\0*\0\0\0\x08", b"MM\0*\0\x7f\0\x08", "its EXIF data are damaged"),
    ],
)
def test_exif_that_does_not_tell_which_way_up_is_an_error(tmp_path, old, new, message):
    write_photo(tmp_path / "photo.jpg", lambda block: block.replace(old, new))
    for read in (read_rgb, read_mask):
        with pytest.raises(UserError, match=rf"photo\.jpg: not a readable image \({re.escape(message)}\)"):
            read(tmp_path / "photo.jpg")


def test_orientation_in_xmp_is_applied(tmp_path):
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    Image.fromarray(SQUARE).save(tmp_path / "photo.jpg", xmp=packet, quality=95)
    assert np.array_equal(read_mask(tmp_path / "photo.jpg"), np.rot90(SQUARE) > 0)


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


@pytest.mark.parametrize("radius", [2, 4, 8, 16])
def test_small_lesions_with_soft_edges_are_read(tmp_path, radius):
    y, x = np.mgrid[:64, :64] - 31.5
    soft = (255 * np.clip(radius - np.hypot(x, y) + 0.5, 0, 1)).astype(np.uint8)
    Image.fromarray(soft).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), soft > 127)


def test_two_labels_in_one_mask_are_refused(tmp_path):
    Image.fromarray(np.array([[0, 1, 255]] * 4, dtype=np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(UserError, match="values 0, 1, 255, expected 0 and 255 only"):
        read_mask(tmp_path / "m.png")


def test_12_bits_fill_the_range(tmp_path):
    Image.fromarray(np.array([[0, 2048, 4095]], dtype=np.uint16)).save(tmp_path / "i.png")
    assert np.asarray(read_rgb(tmp_path / "i.png"))[0, :, 0].tolist() == [0, 127, 255]


@pytest.mark.parametrize("values", [[0.0, 0.9], [0.0, 1000.0]])
def test_floating_point_pictures_are_refused(tmp_path, values):
    Image.fromarray(np.array([values], dtype=np.float32)).save(tmp_path / "f.tif")
    for read in (read_rgb, read_mask):
        with pytest.raises(UserError, match=r"f\.tif: a picture of floating-point numbers"):
            read(tmp_path / "f.tif")
