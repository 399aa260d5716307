"""How datasets of brain tumours number the structures of a label map."""

from __future__ import annotations

from typing import Any

from pu_unet_monai.errors import UserError

__all__ = ["CLASS_NAMES", "NUMBERINGS", "REGIONS", "REGIONS_OF", "check_numbering", "is_numbering"]

NUMBERINGS: dict[str, dict[str, tuple[int, ...]]] = {
    "brats": {"non-enhancing core": (1,), "edema": (2,), "enhancing tumour": (3, 4)},  # 4 before BraTS 2023
    "decathlon": {"non-enhancing core": (2,), "edema": (1,), "enhancing tumour": (3,)},
}
"""By numbering and structure: the values read as the structure, of which the first is the one written."""

REGIONS: tuple[str, ...] = ("TC", "WT", "ET")
"""The channels of a network: tumour core, whole tumour, enhancing tumour (MONAI's order)."""

REGIONS_OF: dict[str, tuple[str, ...]] = {
    "non-enhancing core": ("TC", "WT"),
    "edema": ("WT",),
    "enhancing tumour": ("TC", "WT", "ET"),
}
"""By structure: the regions that it is part of."""

CLASS_NAMES: tuple[str, ...] = ("background", *NUMBERINGS["brats"])
"""The classes by index: a label map in the numbering ``brats`` as we write it holds class indices."""


def is_numbering(value: Any) -> bool:
    """Tell whether a value, whatever a file says, is the name of a numbering of brain tumours."""
    return isinstance(value, str) and value in NUMBERINGS


def check_numbering(name: str) -> None:
    """Refuse a name that is no numbering of brain tumours.

    Args:
        name: a datalist's ``label_numbering``.

    Raises:
        UserError: if it is not a key of ``NUMBERINGS``.
    """
    if not is_numbering(name):
        raise UserError(f"label_numbering: {name!r} is not known; set it to {' or '.join(map(repr, NUMBERINGS))}.")
