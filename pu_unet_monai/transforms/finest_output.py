"""What training shows of a deeply supervised network: its finest output."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

__all__ = ["FinestOutput", "FinestOutputd"]


class FinestOutput(Transform):
    """Keep the first, finest of the outputs that a network with deep supervision gives in training.

    A single output stays as it is, so that one configuration trains both kinds of network.
    """

    def __call__(self, data: Any) -> Any:
        """Return the finest output, (C, *spatial), of a tensor or of a list of tensors."""
        return data[0] if isinstance(data, list | tuple) else data


class FinestOutputd(MapTransform):
    """Dictionary form of :class:`FinestOutput`.

    Args:
        keys: keys of outputs.
        allow_missing_keys: whether a key may be missing. Defaults to False.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.finest = FinestOutput()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the outputs under ``keys``."""
        return {**data, **{key: self.finest(data[key]) for key in self.key_iterator(data)}}
