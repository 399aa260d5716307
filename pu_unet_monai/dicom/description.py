"""Which modality of brain MRI a DICOM series is, by what its header says in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["modality_of_series"]

_FLAIR = {"flair", "t2flair", "t2f", "tirm"}
_T1 = {"t1", "t1w", "t1n", "mprage", "bravo", "spgr", "fspgr"}
_T1_WITH_CONTRAST = {"t1c", "t1ce", "t1gd", "t1post", "t1wce"}
_T2 = {"t2", "t2w"}
_CONTRAST = {"gd", "gad", "gado", "ce", "post", "postcontrast", "contrast", "km", "+c"}
_NO_CONTRAST = {"pre", "precontrast", "without", "wo", "no", "non", "native", "nativ"}
_OTHERS = {
    *("adc", "asl", "cbf", "cbv", "dce", "dsc", "dti", "dwi", "fa", "map", "mip", "perf", "perfusion", "star", "swi"),
    *("loc", "localizer", "scout", "sub", "subtraction", "t2*", "t2star", "tof", "trace", "tracew"),
}
_TOKEN = re.compile(r"t2\*|\+c(?![a-z])|[a-z0-9]+")


def modality_of_series(header: Dataset) -> str | None:
    """Return the modality, one of ``MODALITIES``, that a series' description and contrast agent name, or None.

    ``t2_tirm_tra_dark-fluid`` is FLAIR, ``AX T1 MPRAGE`` is T1w, ``AX T1 +C``, ``t1ce`` and a T1 whose header names a
    contrast agent are T1gd (but ``T1 pre contrast`` is T1w), ``T2 TSE`` is T2w. Diffusion, perfusion, subtractions,
    T2* and localizers are none of them. What is not recognised is named by ``--series``.

    Args:
        header: the header of any slice of the series.
    """
    words = f"{header.get('SeriesDescription', '')} {header.get('ProtocolName', '')}"
    for text in (header.get("SeriesDescription") or "", words):
        modality = _modality_of(text, str(header.get("ContrastBolusAgent") or ""))
        if modality is not None:
            return modality
    return None


def _modality_of(text: str, agent: str) -> str | None:
    tokens = set(_TOKEN.findall(text.lower()))
    if tokens & _OTHERS:
        return None
    if tokens & _FLAIR:
        return "FLAIR"
    if tokens & _T1_WITH_CONTRAST:
        return "T1gd"
    if tokens & _T1:
        if tokens & _NO_CONTRAST:
            return "T1w"
        given = bool(agent.strip()) and agent.strip().lower() not in ("none", "no")
        return "T1gd" if given or tokens & _CONTRAST else "T1w"
    return "T2w" if tokens & _T2 else None
