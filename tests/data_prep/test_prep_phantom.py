from __future__ import annotations

import filecmp

import numpy as np
import pytest
from PIL import Image

from data_prep import busi, isic2017, isic2018, kvasir, phantom
from pu_unet_monai.images import read_mask

MODULES = {"busi": busi, "isic2017": isic2017, "isic2018": isic2018, "kvasir": kvasir}


def otsu(grey):
    """Return Otsu's threshold of 8-bit values: what maximises the variance between the two sides."""
    share = np.bincount(grey.ravel(), minlength=256) / grey.size
    below, mean = np.cumsum(share), np.cumsum(share * np.arange(256))
    inside = (below > 0) & (below < 1)
    between = np.zeros(256)
    between[inside] = (mean[-1] * below - mean)[inside] ** 2 / (below * (1 - below))[inside]
    return between.argmax()


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def read_pairs(source, datalist, entries):
    """Return greyscale image and merged mask of every entry."""
    for entry in entries(datalist):
        labels = entry["label"] if isinstance(entry["label"], list) else [entry["label"]]
        with Image.open(source / entry["image"]) as image:
            yield np.asarray(image.convert("L")), np.any([read_mask(source / label) for label in labels], axis=0)


@pytest.mark.parametrize("layout", phantom.LAYOUTS)
def test_a_threshold_is_not_enough_and_one_in_ten_is_empty(layout, tmp_path, entries):
    source, datalist = tmp_path / "p", tmp_path / "p.json"
    assert phantom.main(["--output", str(source), "--layout", layout, "--number", "60"]) == 0
    MODULES[layout].prepare(source, datalist)
    pairs = list(read_pairs(source, datalist, entries))
    assert len(pairs) == 60
    assert all(image.shape == mask.shape == (96, 96) for image, mask in pairs)
    lesions = [(image, mask) for image, mask in pairs if mask.any()]
    assert len(lesions) == 54
    bright = np.array([dice(image > otsu(image), mask) for image, mask in lesions])
    dark = np.array([dice(image <= otsu(image), mask) for image, mask in lesions])
    assert np.maximum(bright, dark).mean() < 0.6
    areas = np.array([mask.mean() for _, mask in lesions])
    assert areas.min() > 0.005
    assert areas.max() > 3 * areas.min()


def test_lesions_are_brighter_and_darker_than_their_surround(tmp_path, entries):
    phantom.make(tmp_path / "p", "kvasir", number=60)
    kvasir.prepare(tmp_path / "p", tmp_path / "p.json")
    pairs = read_pairs(tmp_path / "p", tmp_path / "p.json", entries)
    differences = [image[mask].mean() - image[~mask].mean() for image, mask in pairs if mask.any()]
    assert 0.1 < np.mean(np.array(differences) > 0) < 0.9


@pytest.mark.parametrize("layout", phantom.LAYOUTS)
def test_the_same_seed_gives_the_same_files(layout, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        phantom.make(tmp_path / name, layout, number=10, size=32, seed=seed)
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert names == sorted(path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*.*"))
    assert filecmp.cmpfiles(tmp_path / "a", tmp_path / "b", names, shallow=False)[0] == names
    assert filecmp.cmpfiles(tmp_path / "a", tmp_path / "c", names, shallow=False)[1:] != ([], [])


def test_busi_has_its_peculiarities(busi_source):
    assert {path.name for path in busi_source.iterdir()} == {"benign", "malignant", "normal"}
    assert list(busi_source.glob("*/*_mask_1.png"))
    assert not any(read_mask(path).any() for path in busi_source.glob("normal/*_mask.png"))


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "p").mkdir()
    phantom.make(tmp_path / "p", number=1, size=32)
    assert (tmp_path / "p" / "images").is_dir()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "full"], "full: exists and is not an empty folder; choose another one or remove it"),
        (["--output", "none/p"], "none does not exist; create it first"),
        (["--output", "p", "--number", "0"], "--number 0: expected at least 1 image"),
        (["--output", "p", "--size", "8"], "--size 8: expected at least 32 pixels"),
    ],
)
def test_wrong_options(tmp_path, monkeypatch, fails, options, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    assert message in fails(phantom.main, *options, folder=tmp_path)


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(phantom, "_save", lambda files, folder: ((folder / "half").touch(), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        phantom.make(tmp_path / "p", number=2, size=32)
    assert not list(tmp_path.iterdir())
