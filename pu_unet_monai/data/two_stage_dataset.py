"""A training that changes what it looks at for its last epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from monai.transforms import Compose

from pu_unet_monai.data.dataset import ReproducibleDataset

__all__ = ["TwoStageDataset"]


class TwoStageDataset(ReproducibleDataset):
    """:class:`ReproducibleDataset` with another random transform in the last epochs.

    Patches teach a network most in a given time, but one that normalises over its window (GroupNorm) should end its
    training on the windows that inference uses.

    Args:
        data: the items, dictionaries as a rule.
        transform: transforms of the first epochs; those before the first random one are cached.
        last_transform: transforms of the last epochs; it must begin with the same deterministic ones.
        last_from: the first epoch, counted from 1, of ``last_transform``.
        seed: seed of the augmentation. Defaults to 0.
        cache_rate: share of the items to keep in memory, or ``"auto"``, see :class:`ReproducibleDataset`.
            Defaults to 1.
        num_workers: threads that fill the cache. Defaults to 1.

    Raises:
        UserError: if items cannot be loaded; the message names all of them.
    """

    def __init__(
        self,
        data: Sequence[Any],
        transform: Compose,
        last_transform: Compose,
        last_from: int,
        seed: int = 0,
        cache_rate: float | Literal["auto"] = 1.0,
        num_workers: int | None = 1,
    ) -> None:
        self.first_transform = transform
        self.last_transform = last_transform
        self.last_from = last_from
        super().__init__(data, transform, seed, cache_rate, num_workers)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, and with it the transform, that comes next."""
        super().set_epoch(epoch)
        self.transform = self.first_transform if epoch < self.last_from else self.last_transform
