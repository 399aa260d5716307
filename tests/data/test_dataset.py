"""Augmentation and order depend on seed, epoch and item alone."""

from __future__ import annotations

import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose, Lambdad, RandGaussianNoised

from pu_unet_monai.data import EpochSampler, ReproducibleDataset
from pu_unet_monai.errors import UserError

ITEMS = [{"image": torch.full((1, 4), float(i))} for i in range(6)]
NOISE = RandGaussianNoised("image", prob=1.0, std=1.0)


def epoch_of(epoch: int, workers: int = 0, seed: int = 0, cache_rate: float = 1.0) -> torch.Tensor:
    dataset = ReproducibleDataset(ITEMS, Compose([NOISE]), seed=seed, cache_rate=cache_rate)
    sampler = EpochSampler(dataset, seed=seed)
    loader = DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=workers)
    sampler.set_epoch(epoch)
    return torch.cat([batch["image"] for batch in loader])


def test_an_epoch_is_the_same_whatever_came_before():
    assert torch.equal(epoch_of(3), epoch_of(3))
    assert torch.equal(epoch_of(3), epoch_of(3, workers=2))
    assert torch.equal(epoch_of(3), epoch_of(3, cache_rate=0.5))


def test_epochs_seeds_and_items_differ():
    assert not torch.equal(epoch_of(3), epoch_of(4))
    assert not torch.equal(epoch_of(3), epoch_of(3, seed=1))
    noise = epoch_of(3) - epoch_of(3).round()
    assert len(torch.unique(noise, dim=0)) == len(ITEMS)


def test_every_item_once_an_epoch_and_in_another_order():
    dataset = ReproducibleDataset(ITEMS)
    sampler = EpochSampler(dataset)
    orders = []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        orders.append(tuple(sampler))
        assert sorted(orders[-1]) == list(range(len(ITEMS)))
        assert dataset.epoch == epoch
    assert len(set(orders)) > 1


def test_processes_share_the_epoch():
    dataset = ReproducibleDataset(ITEMS)
    shares = [list(EpochSampler(dataset, num_replicas=2, rank=rank)) for rank in (0, 1)]
    assert sorted(shares[0] + shares[1]) == list(range(len(ITEMS)))


def test_all_items_that_cannot_be_loaded_are_named():
    def load(image: torch.Tensor) -> torch.Tensor:
        if image[0, 0] in (1, 4):
            raise UserError(f"{int(image[0, 0])}.png: not a readable image")
        return image

    with pytest.raises(UserError, match=r"1\.png: not a readable image\n4\.png: not a readable image"):
        ReproducibleDataset(ITEMS, Compose([Lambdad("image", load), NOISE]))


def test_other_errors_pass_through():
    def load(image: torch.Tensor) -> torch.Tensor:
        raise KeyError("a defect, not a user's mistake")

    with pytest.raises(RuntimeError, match="applying transform"):
        ReproducibleDataset(ITEMS, Compose([Lambdad("image", load), NOISE]))
