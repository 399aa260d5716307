"""Augmentation and order depend on seed, epoch and item alone."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose, Lambdad, RandGaussianNoised

from pu_unet_monai.data import EpochSampler, ReproducibleDataset
from pu_unet_monai.data.dataset import _held_bytes
from pu_unet_monai.errors import UserError

ITEMS = [{"image": torch.full((1, 4), float(i))} for i in range(6)]
NOISE = RandGaussianNoised("image", prob=1.0, std=1.0)


def epoch_of(epoch: int, workers: int = 0, seed: int = 0, cache_rate: Any = 1.0) -> torch.Tensor:
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


def test_items_that_can_be_loaded_may_follow_those_that_cannot():
    def load(image: torch.Tensor) -> torch.Tensor:
        if image[0, 0] == 1:
            raise UserError("1.png: not a readable image")
        return image

    dataset = ReproducibleDataset(ITEMS[:1], Compose([Lambdad("image", load), NOISE]))
    with pytest.raises(UserError, match="not a readable image"):
        dataset.set_data(ITEMS)
    dataset.set_data(ITEMS[2:])
    assert len(dataset) == 4


def test_the_last_item_by_a_negative_index():
    dataset = ReproducibleDataset(ITEMS, Compose([NOISE]))
    assert torch.equal(dataset[-1]["image"], dataset[len(ITEMS) - 1]["image"])


def test_negative_seeds_are_refused():
    with pytest.raises(UserError, match="seed: -1, expected 0 or more"):
        ReproducibleDataset(ITEMS, Compose([NOISE]), seed=-1)


def test_other_errors_pass_through():
    def load(image: torch.Tensor) -> torch.Tensor:
        raise KeyError("a defect, not a user's mistake")

    with pytest.raises(RuntimeError, match="applying transform"):
        ReproducibleDataset(ITEMS, Compose([Lambdad("image", load), NOISE]))


@pytest.fixture
def memory(monkeypatch):
    """Let so many of the items of 16 bytes fit into the half of the memory that a cache may take."""

    def let_fit(number: float) -> None:
        monkeypatch.setattr("pu_unet_monai.data.dataset.available_bytes", lambda device: 2 * 16 * number)

    return let_fit


@pytest.mark.parametrize(("fit", "cached"), [(0.9, 0), (1.0, 1), (2.5, 2), (5.9, 5), (6.0, 6), (100, 6)])
def test_cache_sized_to_memory(memory, caplog, fit, cached):
    memory(fit)
    with caplog.at_level(logging.INFO, "pu_unet_monai"):
        dataset = ReproducibleDataset(ITEMS, Compose([NOISE]), cache_rate="auto")
    assert dataset.cache_num == len(dataset._cache) == cached
    expected = [f"cached {cached} of 6 cases (0 MB); the others are read each epoch"] if cached < 6 else []
    assert [record.getMessage() for record in caplog.records] == expected
    assert all(torch.equal(item["image"], ITEMS[i]["image"]) for i, item in enumerate(dataset._cache))


@pytest.mark.parametrize("workers", [0, 2])
def test_numbers_do_not_depend_on_what_is_cached(memory, workers):
    expected = epoch_of(3)
    for fit in (0, 1, 4, 6):
        memory(fit)
        assert torch.equal(epoch_of(3, workers, cache_rate="auto"), expected)


def test_bytes_of_an_item():
    """Of a view, what it keeps alive: 4 of 100 float32; of an array 3 x 8; of a tensor in a list 5."""
    view = torch.zeros(100)[:4]
    item = {"a": view, "b": np.zeros(3), "c": [torch.zeros(5, dtype=torch.uint8), "name", (None, 3)]}
    assert _held_bytes(item) == 400 + 24 + 5


def test_one_that_cannot_be_loaded_says_nothing_about_memory(memory):
    """All that were tried are named."""
    loaded = []

    def load(image: torch.Tensor) -> torch.Tensor:
        loaded.append(int(image[0, 0]))
        if image[0, 0] == 0:
            raise UserError("0.png: not a readable image")
        return image

    memory(3)
    with pytest.raises(UserError, match=r"0\.png"):
        ReproducibleDataset(ITEMS, Compose([Lambdad("image", load), NOISE]), cache_rate="auto")
    assert {0, 1, 2, 3} <= set(loaded)


@pytest.mark.parametrize("value", ["half", -0.1, 1.5, None])
def test_cache_rate_that_is_none(value):
    with pytest.raises(UserError, match=r"cache_rate: .*expected a share from 0 to 1, or auto"):
        ReproducibleDataset(ITEMS, cache_rate=value)


def test_a_small_first_item_does_not_overfill_the_cache(monkeypatch):
    monkeypatch.setattr("pu_unet_monai.data.dataset.available_bytes", lambda device: 2 * 1000)
    items = [{"image": torch.zeros(1)}, *({"image": torch.zeros(100)} for _ in range(9))]
    dataset = ReproducibleDataset(items, Compose([NOISE]), cache_rate="auto", num_workers=3)
    assert dataset.cache_num == 3  # 4 + 400 + 400 bytes
    assert len(dataset) == 10
