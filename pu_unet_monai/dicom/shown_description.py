"""What of a series' description may be shown: words of MRI alone, as anything else may tell who the patient is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pu_unet_monai.dicom.description import KNOWN_WORDS

__all__ = ["HIDDEN", "show_description"]

HIDDEN = "***"
"""What stands for words that are not shown."""
_MORE_WORDS = {
    *("pre", "without", "non", "native", "nativ", "t2star", "pd", "stir", "vibe", "dixon", "mp2rage", "hemo", "haemo"),
    *("localizer", "scout", "survey", "loc", "plane", "spine", "orbit", "skull", "mra", "tof", "pc", "sub"),
    *("subtraction", "mip", "minip", "mpr", "map", "phase", "mag", "magnitude", "dwi", "dti", "diff", "diffusion"),
    *("adc", "fa", "trace", "tracew", "epi", "ep2d", "b0", "b50", "b500", "b800", "b1000", "swi", "swan", "perf"),
    *("perfusion", "pwi", "dsc", "dce", "asl", "cbf", "cbv", "mtt", "dynamic", "bold", "fmri", "rest", "spectroscopy"),
    *("svs", "csi", "fiesta", "ciss", "dir", "registered", "synthetic", "derived", "reformat", "reformatted"),
}
"""What series are called that no network here takes, so that the user sees what was left aside."""
_KNOWN = KNOWN_WORDS | _MORE_WORDS
_SIZE = r"(?<![\d.,-])\d(?:[.,]\d{1,2})?[ _]?mm(?![^\W_])"
"""``0.9 mm``; more digits may be a date."""
_SIGN = r"\+c(?![^\W_])|c\+(?![^\W_])|w/o(?![^\W_])|(?:p|iso)\d(?![^\W_])"
"""Contrast, acceleration, voxels of so many mm."""
_WORD = re.compile(rf"(?P<plain>{_SIZE}|{_SIGN})|[^\W_]+|[^ _.,:;/()\[\]+*-]", re.IGNORECASE)
"""What is plain as it is; or a word, which an underscore ends; or any other sign but those that part words."""
_SEVERAL_HIDDEN = re.compile(rf"{re.escape(HIDDEN)}(?:[\W_]*{re.escape(HIDDEN)})+")


def show_description(text: str, names: Sequence[str] = ()) -> str:
    """Return a description with stars for all but words of MRI: ``T1_DOE_19510423`` is ``T1_***``.

    Looking for the patient's name alone would not do: it may be typed in another way than in the header, be cut, or
    stand beside a date of birth or another hospital's number.

    Args:
        text: ``SeriesDescription`` or the like.
        names: names and numbers of the header; words that stand in them are hidden, as somebody may be called Head.
    """
    hidden = {word.lower() for name in names for word in re.findall(r"[^\W_]+", name)}

    def show(match: re.Match[str]) -> str:
        word = match[0].lower()
        return match[0] if match["plain"] or word in _KNOWN - hidden else HIDDEN

    return _SEVERAL_HIDDEN.sub(HIDDEN, _WORD.sub(show, text))
