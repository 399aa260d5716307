"""Small images are convolved without oneDNN, which keeps a program for each size."""

from __future__ import annotations

import os

import pytest
import torch
from PIL import Image

from pu_unet_monai.runtime.kernel_cache import bound_kernel_cache, convolutions_for_resizing


@pytest.mark.parametrize(("size", "by_onednn"), [((40, 30), False), ((1000, 999), False), ((1000, 1000), True)])
def test_images(tmp_path, size, by_onednn):
    Image.new("L", size).save(tmp_path / "image.png")
    with convolutions_for_resizing(str(tmp_path / "image.png")):
        assert torch.backends.mkldnn.enabled == by_onednn
    assert torch.backends.mkldnn.enabled


@pytest.mark.parametrize("image", ["nowhere.png", ["a.nii.gz", "b.nii.gz"], __file__, None])
def test_what_is_no_image_is_left_as_it_was(image):
    with convolutions_for_resizing(image):
        assert torch.backends.mkldnn.enabled


def test_what_the_user_set_stays(monkeypatch):
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    bound_kernel_cache()
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "7"
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    bound_kernel_cache()
    assert os.environ.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY") == "128"
