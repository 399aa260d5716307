"""A cached dataset whose augmentation depends on seed, epoch and item alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from monai.data import CacheDataset
from monai.transforms import Compose

from pu_unet_monai.errors import UserError, find_user_error

__all__ = ["ReproducibleDataset"]


class ReproducibleDataset(CacheDataset):
    """MONAI's ``CacheDataset`` with a random state of its own for every item of every epoch.

    The random transforms are seeded from ``(seed, epoch, index)`` before each item. So a resumed training sees what
    an unbroken one would have seen, whatever the number of workers or processes. :class:`EpochSampler` sets the
    epoch. What cannot be read is reported all at once when the cache is filled.

    Args:
        data: the items, dictionaries as a rule.
        transform: transforms; those before the first random one are cached.
        seed: seed of the augmentation. Defaults to 0.
        cache_rate: share of the items to keep in memory. Defaults to 1.
        num_workers: threads that fill the cache. Defaults to 1.

    Raises:
        UserError: if items cannot be loaded; the message names all of them.
    """

    def __init__(
        self,
        data: Sequence[Any],
        transform: Sequence[Callable] | Callable | None = None,
        seed: int = 0,
        cache_rate: float = 1.0,
        num_workers: int | None = 1,
    ) -> None:
        self.seed = seed
        self.epoch = 0
        self._errors: dict[int, UserError] = {}
        super().__init__(data, transform, cache_rate=cache_rate, num_workers=num_workers, progress=sys.stderr.isatty())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentation is drawn next."""
        self.epoch = epoch

    def set_data(self, data: Sequence[Any]) -> None:
        """Set the items and fill the cache."""
        super().set_data(data)
        if self._errors:
            raise UserError("\n".join(str(self._errors[index]) for index in sorted(self._errors)))

    def _load_cache_item(self, idx: int) -> Any:
        try:
            return super()._load_cache_item(idx)
        except Exception as error:
            user_error = find_user_error(error)
            if user_error is None:
                raise
            self._errors[idx] = user_error
            return None

    def _transform(self, index: int) -> Any:
        if isinstance(self.transform, Compose):
            # the constructor of SeedSequence mixes the three numbers well, also when they are small and close
            state = np.random.SeedSequence((self.seed, self.epoch, index)).generate_state(1)
            self.transform.set_random_state(seed=int(state[0]))
        return super()._transform(index)
