from __future__ import annotations

import numpy as np
import pytest
from monai.data import DataLoader
from monai.transforms import Compose, Lambdad, RandFlipd, RandSpatialCropSamplesd

from pu_unet_monai.data import EpochSampler, TwoStageDataset


def dataset(**options):
    load = Lambdad("image", lambda number: np.full((1, 6, 6), number, np.float32))
    crop = RandSpatialCropSamplesd("image", (2, 2), num_samples=3, random_size=False)
    flip = RandFlipd("image", prob=0.5)
    items = [{"image": number} for number in range(4)]
    return TwoStageDataset(items, Compose([load, crop, flip]), Compose([load, flip]), last_from=3, **options)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cache_rate", [0.0, 1.0, "auto"])
def test_patches_first_whole_images_last(workers, cache_rate):
    data = dataset(seed=1, cache_rate=cache_rate)
    sampler = EpochSampler(data, seed=1)
    loader = DataLoader(data, batch_size=1, sampler=sampler, num_workers=workers)
    shapes = {}
    for epoch in (1, 2, 3, 4, 2):  # back again, as a second training would
        sampler.set_epoch(epoch)
        shapes[epoch] = [tuple(batch["image"].shape) for batch in loader]
    assert shapes[1] == shapes[2] == [(3, 1, 2, 2)] * 4
    assert shapes[3] == shapes[4] == [(1, 1, 6, 6)] * 4


def test_every_item_once_an_epoch_in_both_stages():
    data = dataset()
    for epoch in (1, 3):
        data.set_epoch(epoch)
        first = [item[0] if isinstance(item, list) else item for item in (data[i] for i in range(4))]
        assert [float(item["image"].max()) for item in first] == [0, 1, 2, 3]
