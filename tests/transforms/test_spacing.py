from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Spacingd

from pu_unet_monai.transforms import PlainSpacingd


def test_beside_keys_that_begin_like_the_image() -> None:
    """MONAI Label adds ``image_path`` to every item; MONAI's own transform takes it for metadata."""
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    image = MetaTensor(torch.rand(1, 6, 8, 10), affine=affine, meta={"filename_or_obj": "a.nii.gz"})
    spacing = PlainSpacingd("image", pixdim=(1.0, 1.0, 1.0), mode="bilinear")
    item = spacing({"image": image.clone(), "image_path": "a.nii.gz", "label": 3})
    expected = Spacingd("image", pixdim=(1.0, 1.0, 1.0), mode="bilinear")({"image": image.clone()})
    assert item["image"].shape == (1, 11, 8, 10)
    assert torch.equal(item["image"], expected["image"])
    assert (item["image_path"], item["label"]) == ("a.nii.gz", 3)
    assert spacing.inverse(item)["image"].shape == image.shape
