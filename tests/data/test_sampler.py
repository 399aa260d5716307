"""Shares of a dataset among processes."""

from __future__ import annotations

import pytest

from pu_unet_monai.data import EachOnceSampler
from pu_unet_monai.errors import UserError


@pytest.mark.parametrize("count", [2, 3, 5])
def test_each_item_once_over_all_processes(count):
    shares = [list(EachOnceSampler(range(5), num_replicas=count, rank=rank)) for rank in range(count)]
    assert sorted(index for share in shares for index in share) == [0, 1, 2, 3, 4]
    assert all(shares)


def test_fewer_items_than_processes():
    with pytest.raises(UserError, match="the part of the data to score has 2 cases, but 3 processes need 3: "):
        EachOnceSampler(range(2), num_replicas=3, rank=0)
