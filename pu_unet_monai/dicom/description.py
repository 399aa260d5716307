"""Which modality of brain MRI a DICOM series is, by what its header says in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["modality_of_series"]

_FLAIR = {"flair", "t2flair", "t2f", "tirm", "dark", "darkfluid", "fluid"}
_T1 = {"t1", "t1w", "t1n", "mprage", "bravo", "spgr", "fspgr", "t1flair"}
_T1_WITH_CONTRAST = {"t1c", "t1ce", "t1gd", "t1post", "t1wce"}
_T2 = {"t2", "t2w"}
_T2_STAR = {"gre", "ffe", "hemo", "fl2d", "fl3d", "medic"}
_CONTRAST = {"gd", "gad", "gado", "ce", "post", "postcontrast", "contrast", "km", "+c"}
_OTHERS = {
    *("adc", "angio", "asl", "cbf", "cbv", "ciss", "dce", "diff", "dir", "dsc", "dti", "dwi", "dyn", "dynamic", "fa"),
    *("fiesta", "loc", "localizer", "map", "mip", "mra", "mrv", "pd", "perf", "perfusion", "rho", "scout", "spine"),
    *("star", "stir", "sub", "subtraction", "swan", "swi", "t2*", "t2star", "tof", "trace", "tracew"),
}
_WITHOUT = re.compile(r"(?<![a-z])(pre|without|w/o|wo|non?|nativ|native)[ _-]*(contrast|gado?|gd|ce|km|c)?(?![a-z])")
_TOKEN = re.compile(r"t2\*|\+c(?![a-z])|[a-z0-9]+")


def modality_of_series(header: Dataset) -> str | None:
    """Return the modality, one of ``MODALITIES``, that a series' description and contrast agent name, or None.

    ``t2_tirm_tra_dark-fluid`` is FLAIR, ``AX T1 MPRAGE`` and ``T1 FLAIR`` are T1w, ``AX T1 +C``, ``t1ce`` and a T1
    whose header names a contrast agent are T1gd (but ``T1 pre contrast`` is T1w), ``T2 TSE`` is T2w. Diffusion,
    perfusion, subtractions, T2*, proton density and localizers are none of them, nor is what says two things at once
    (``T1 pre and post``): a series that is not taken can be named by ``--series``, a wrong one would be taken without
    a word.

    Args:
        header: the header of any slice of the series.
    """
    agent = str(header.get("ContrastBolusAgent") or "").strip().lower()
    for keyword in ("SeriesDescription", "ProtocolName"):
        words = str(header.get(keyword) or "").lower()
        if _TOKEN.search(words):
            modality, says_something = _modality_of(words, agent not in ("", "none", "no"))
            if says_something:
                return modality
    return None


def _modality_of(words: str, agent: bool) -> tuple[str | None, bool]:
    """Return the modality, and whether the words say anything of what the series is."""
    rest = _WITHOUT.sub(" ", words)
    plain = rest != words
    tokens = set(_TOKEN.findall(rest))
    t1, t2, flair = bool(tokens & (_T1 | _T1_WITH_CONTRAST)), bool(tokens & _T2), bool(tokens & _FLAIR)
    if tokens & _OTHERS:
        return None, True
    if t1:
        enhanced = bool(tokens & (_CONTRAST | _T1_WITH_CONTRAST))
        if t2 or (plain and enhanced):
            return None, True
        return "T1gd" if enhanced or (agent and not plain) else "T1w", True
    if flair:
        return "FLAIR", True
    if t2:
        return None if tokens & _T2_STAR else "T2w", True
    return None, False
