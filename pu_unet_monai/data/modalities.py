"""The four modalities of brain MRI and how files name them."""

from __future__ import annotations

import re

__all__ = ["MODALITIES", "modality_of", "split_modality"]

MODALITIES: tuple[str, ...] = ("FLAIR", "T1w", "T1gd", "T2w")
"""The channels of an image, in this order everywhere."""

_NAMES = {
    "FLAIR": ("flair", "t2f", "t2flair"),
    "T1w": ("t1", "t1w", "t1n"),
    "T1gd": ("t1ce", "t1gd", "t1c", "t1wce", "t1post"),
    "T2w": ("t2", "t2w"),
}
_MODALITY_OF = {name: modality for modality, names in _NAMES.items() for name in names}
_TOKEN = re.compile(r"[^_\-. ]+")


def modality_of(name: str) -> str | None:
    """Return the modality, one of ``MODALITIES``, that a name ends in, or None.

    The last token counts, or the last two read as one: ``BraTS2021_01476_t1ce``, ``BraTS-GLI-00000-000-t1c`` and
    ``P7 T1 post`` are T1gd, ``P7_T2_FLAIR`` is FLAIR.

    Args:
        name: a file's name without its extension; tokens are separated by ``_``, ``-``, ``.`` or a space.
    """
    return split_modality(name)[1]


def split_modality(name: str) -> tuple[str, str | None]:
    """Split a name into what is before its modality and the modality, see :func:`modality_of`.

    Args:
        name: a file's name without its extension.

    Returns:
        ``("P7", "FLAIR")`` for ``P7_T2_FLAIR``, ``("", "T1w")`` for ``t1``, ``("P7", None)`` for ``P7``.
    """
    tokens = list(_TOKEN.finditer(name))
    for ending in (tokens[-2:], tokens[-1:]):
        modality = _MODALITY_OF.get("".join(token[0] for token in ending).lower())
        if modality is not None:
            return name[: max(ending[0].start() - 1, 0)], modality
    return name, None
