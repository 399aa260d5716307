"""One image, several steps."""

from __future__ import annotations

import pytest
import torch
from monai.transforms import Compose, RandGaussianNoised, SplitDimd

from experiments.brain_report.kept_image import KeptImageLoader
from pu_unet_monai.data import EpochSampler, ReproducibleDataset
from pu_unet_monai.errors import UserError

ITEMS = [{"image": torch.arange(4.0).reshape(4, 1, 1) + 10 * case} for case in range(3)]
"""Cases 0, 1 and 2 of four samples each: 0 to 3, 10 to 13, 20 to 23."""
SPLIT = SplitDimd("image", keepdim=False, list_output=True)


def loader(transforms: list, shuffle: bool = True, **options: int) -> KeptImageLoader:
    dataset = ReproducibleDataset(ITEMS, Compose(transforms), seed=3)
    options = {"batch_size": 2, "steps_per_image": 2, **options}
    return KeptImageLoader(dataset, sampler=EpochSampler(dataset, shuffle=shuffle, seed=3), **options)


def epoch_of(batches: KeptImageLoader, epoch: int) -> torch.Tensor:
    batches.sampler.set_epoch(epoch)
    return torch.stack([batch["image"] for batch in batches])


def test_every_sample_once_image_by_image():
    batches = loader([SPLIT], shuffle=False)
    assert len(batches) == 6
    assert [batch["image"].flatten().tolist() for batch in batches] == [
        *([0, 1], [2, 3]),
        *([10, 11], [12, 13]),
        *([20, 21], [22, 23]),
    ]


def test_steps_of_an_image_follow_each_other_when_shuffled():
    batches = loader([SPLIT])
    cases = [(epoch_of(batches, epoch)[:, 0, 0] // 10).flatten().tolist() for epoch in range(5)]
    assert all(found[0::2] == found[1::2] and sorted(found) == [0, 0, 1, 1, 2, 2] for found in cases)
    assert len(set(map(tuple, cases))) > 1


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_is_the_same_whatever_came_before(workers):
    noise = RandGaussianNoised("image", prob=1.0)
    batches = loader([SPLIT, noise], num_workers=workers)
    first, second = epoch_of(batches, 1), epoch_of(batches, 2)
    assert not torch.equal(first, second)
    assert torch.equal(epoch_of(loader([SPLIT, noise]), 2), second)


def test_samples_that_do_not_fill_the_steps_are_refused():
    with pytest.raises(UserError, match=r"batch_size 3 and steps_per_image 2: an image gives 4 samples, expected 6"):
        next(iter(loader([SPLIT], batch_size=3)))
