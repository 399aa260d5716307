"""Which modality of brain MRI a DICOM series is, by what its header says in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["KNOWN_WORDS", "modality_of_series"]

_FLAIR = {"flair", "t2flair", "t2f", "fluid", "darkfluid"}
_WITH_FLUID = {"dark", "tirm"}
"""Words of ``tirm dark fluid``, a FLAIR; without ``fluid`` they may be anything."""
_T1 = {"t1", "t1w", "t1n", "mprage", "bravo", "spgr", "fspgr"}
_T1_WITH_CONTRAST = {"t1c", "t1ce", "t1gd", "t1post", "t1wce"}
_T2 = {"t2", "t2w"}
_GRADIENT_ECHO = {"gre", "ffe", "fl2d", "fl3d"}
"""Of a T1 that is usual; a T2 is T2* then."""
_CONTRAST = {"+c", "c+", "+gd", "gd", "gad", "gado", "ce", "km", "post", "postcontrast", "postgad", "contrast"}
_SAY_NOTHING = {
    *("ax", "axial", "tra", "transverse", "trans", "sag", "sagittal", "cor", "coronal", "obl", "iso", "isotropic"),
    *("brain", "head", "neuro", "mr", "mri", "2d", "3d", "w", "weighted", "wi", "mm", "thin", "fs", "fatsat", "sense"),
    *("se", "tse", "fse", "ir", "tfe", "cube", "space", "vista", "blade", "propeller", "et1w"),
}
_MODALITY_WORDS = _FLAIR | _WITH_FLUID | _T1 | _T1_WITH_CONTRAST | _T2 | _GRADIENT_ECHO | _CONTRAST
KNOWN_WORDS = _MODALITY_WORDS | _SAY_NOTHING
"""All words of descriptions that are understood, in small letters."""
_WITHOUT = re.compile(r"(?<![a-z])(pre|without|w/o|wo|non?|nativ|native)[ _-]*(contrast|gado?|gd|ce|km)?(?![a-z])")
_TOKEN = re.compile(r"\+c(?![a-z])|\+gd(?![a-z])|(?<![a-z])c\+|[a-z0-9]+")
_UNCLEAR = re.compile(r"\*|[a-z]-(?=$|[ _])|\+(?!c(?![a-z])|gd(?![a-z]))(?<!(?<![a-z])c\+)")
"""``T2*``; ``Gd-``; a plus sign of nothing."""
_NUMBER = re.compile(r"\d+(mm)?|p\d|iso\d+")
_NO_AGENT = ("", "none", "no")
_AGENTS = ("gad", "dotarem", "magnevist", "prohance", "omniscan", "multihance", "clariscan", "elucirem", "vueway")
_NO_IMAGE_TYPE = {"P", "PHASE", "PHASE MAP", "ADC", "FA", "TRACEW", "SUBTRACTION", "MIP", "PROJECTION IMAGE"}


def modality_of_series(header: Dataset) -> str | None:
    """Return the modality, one of ``MODALITIES``, that a series' description and contrast agent name, or None.

    ``t2_tirm_tra_dark-fluid`` is FLAIR, ``AX T1 MPRAGE`` and ``T1 FLAIR`` are T1w, ``AX T1 +C``, ``t1ce`` and a T1
    whose header names a contrast agent are T1gd (but ``T1 pre contrast`` is T1w), ``T2 TSE`` is T2w. ``ProtocolName``
    is asked where the description says nothing. A description with any word that is not known here, or that says two
    things at once, is none: the user can name the series, but a wrong one would be taken without a word.

    Args:
        header: the header of any slice of the series.
    """
    image_type = {str(value).upper() for value in header.get("ImageType") or ()}
    if image_type & _NO_IMAGE_TYPE:
        return None
    agent = str(header.get("ContrastBolusAgent") or "").strip().lower()
    description, protocol = (str(header.get(key) or "").lower() for key in ("SeriesDescription", "ProtocolName"))
    if _telling(description):
        modality = _modality_of(description, agent)
        doubtful = modality == "T1w" and _modality_of(protocol, "") == "T1gd"
        return None if doubtful else modality
    return _modality_of(protocol, agent)


def _telling(words: str) -> set[str]:
    """Return the words that say anything of what a series is."""
    return {token for token in _TOKEN.findall(words) if token not in _SAY_NOTHING and not _NUMBER.fullmatch(token)}


def _modality_of(words: str, agent: str) -> str | None:
    rest = _WITHOUT.sub(" ", words)
    plain = rest != words
    tokens = _telling(rest)
    if tokens - _MODALITY_WORDS or _UNCLEAR.search(rest):
        return None
    t1, t2, flair = tokens & (_T1 | _T1_WITH_CONTRAST), tokens & _T2, tokens & _FLAIR
    if tokens & _WITH_FLUID and not flair:
        return None
    if t1:
        return None if t2 else _t1(plain, bool(tokens & (_CONTRAST | _T1_WITH_CONTRAST)), agent)
    if flair:
        return "FLAIR"
    return "T2w" if t2 and not tokens & _GRADIENT_ECHO else None


def _t1(plain: bool, enhanced: bool, agent: str) -> str | None:
    """Return T1w or T1gd, or None if the words contradict each other, or the header's agent is not understood."""
    if plain or enhanced:
        return None if plain and enhanced else "T1gd" if enhanced else "T1w"
    if agent in _NO_AGENT:
        return "T1w"
    return "T1gd" if agent.startswith(_AGENTS) else None
