"""Saving masks."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor
from PIL import Image

from pu_unet_monai.transforms import SaveMask, SaveMaskd


def test_mask_is_saved_upright_as_0_and_255(tmp_path):
    mask = MetaTensor(torch.tensor([[0, 1], [0, 0], [1, 1]], dtype=torch.uint8))  # (width 3, height 2)
    mask.meta["filename_or_obj"] = "/some/where/polyp 1.jpg"
    assert SaveMask(tmp_path)(mask) is mask
    saved = np.asarray(Image.open(tmp_path / "polyp 1.png"))
    assert saved.tolist() == [[0, 0, 255], [255, 0, 255]]
    result = SaveMaskd("pred", tmp_path / "more")({"pred": mask, "other": 1})
    assert result["other"] == 1
    assert [p.name for p in (tmp_path / "more").iterdir()] == ["polyp 1.png"]
