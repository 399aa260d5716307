"""A cached dataset whose augmentation depends on seed, epoch and item alone."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.pool import ThreadPool
from typing import Any, Literal

import numpy as np
import torch
from monai.data import CacheDataset
from monai.transforms import Compose
from tqdm import tqdm

from pu_unet_monai.errors import UserError, find_user_error
from pu_unet_monai.runtime.memory import available_bytes, format_bytes
from pu_unet_monai.vector_math import settle_vector_math

__all__ = ["ReproducibleDataset"]

_log = logging.getLogger(__name__)

_SHARE_OF_MEMORY = 0.5
"""What ``cache_rate="auto"`` takes of the memory that is available; the rest is for the network and the workers."""


class ReproducibleDataset(CacheDataset):
    """MONAI's ``CacheDataset`` with a random state of its own for every item of every epoch.

    The random transforms are seeded from ``(seed, epoch, index)`` before each item. So a resumed training sees what
    an unbroken one would have seen, whatever the number of workers or processes. :class:`EpochSampler` sets the
    epoch. What cannot be read is reported all at once when the cache is filled.

    Args:
        data: the items, dictionaries as a rule.
        transform: transforms; those before the first random one are cached.
        seed: seed of the augmentation. Defaults to 0.
        cache_rate: share of the items to keep in memory, or ``"auto"``: as many as fit into half of the memory that is
            available to this process. What is kept does not change what is drawn. Defaults to 1.
        num_workers: threads that fill the cache. Defaults to 1.

    Raises:
        UserError: if ``cache_rate`` is neither, the seed is negative, or items cannot be loaded; the message names all
            of them.
    """

    def __init__(
        self,
        data: Sequence[Any],
        transform: Sequence[Callable] | Callable | None = None,
        seed: int = 0,
        cache_rate: float | Literal["auto"] = 1.0,
        num_workers: int | None = 1,
    ) -> None:
        if cache_rate != "auto" and not (isinstance(cache_rate, int | float) and 0 <= cache_rate <= 1):
            raise UserError(f"cache_rate: {cache_rate!r}, expected a share from 0 to 1, or auto.")
        if seed < 0:
            raise UserError(f"seed: {seed}, expected 0 or more.")
        self.seed = seed
        self.epoch = 0
        self._errors: dict[int, UserError] = {}
        self._sized_to_memory = cache_rate == "auto"
        settle_vector_math()  # before the threads that fill the cache do
        share = 1.0 if cache_rate == "auto" else cache_rate
        super().__init__(data, transform, cache_rate=share, num_workers=num_workers, progress=sys.stderr.isatty())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentation is drawn next."""
        self.epoch = epoch

    def set_data(self, data: Sequence[Any]) -> None:
        """Set the items and fill the cache."""
        self._errors = {}
        super().set_data(data)
        if self._errors:
            raise UserError("\n".join(str(self._errors[index]) for index in sorted(self._errors)))

    def _fill_cache(self, indices: Sequence[int] | None = None) -> list:
        if not (self._sized_to_memory and indices):
            return super()._fill_cache(indices)
        memory, held = _SHARE_OF_MEMORY * available_bytes("cpu"), 0
        kept: list[Any] = []
        with ThreadPool(self.num_workers) as pool:
            items = pool.imap(self._load_cache_item, indices)
            for item in tqdm(items, desc="Loading dataset", total=len(indices), disable=not self.progress):
                held += _held_bytes(item)
                if held > memory:
                    break
                kept.append(item)
        self.cache_num = len(kept)
        if self.cache_num < len(indices):
            _log.info(
                "cached %d of %d cases (%s); the others are read each epoch",
                *(self.cache_num, len(indices), format_bytes(sum(map(_held_bytes, kept)))),
            )
        return kept

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
            state = np.random.SeedSequence((self.seed, self.epoch, index % len(self))).generate_state(1)
            self.transform.set_random_state(seed=int(state[0]))
        return super()._transform(index)


def _held_bytes(item: Any) -> int:
    """Return the memory that the tensors and arrays of an item hold; of a view, that of the whole."""
    if isinstance(item, torch.Tensor):
        return item.untyped_storage().nbytes()
    if isinstance(item, np.ndarray):
        return item.nbytes
    if isinstance(item, Mapping):
        return sum(map(_held_bytes, item.values()))
    return sum(map(_held_bytes, item)) if isinstance(item, list | tuple) else 0
