"""What of a description is shown: enough to tell series apart, and nothing that tells who the patient is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pu_unet_monai.dicom.shown_description import show_description
from tests.dicom.test_description import NAMES


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("T1_DOE_JANE_19510423_MRN-4711-77", "T1_***"),
        ("LI NA T1", "*** T1"),
        ("T1 LI", "T1 ***"),
        ("23 04 51 T1", "*** T1"),
        ("1951-04-23_FLAIR", "***_FLAIR"),
        ("1951.04.23mm T2", "*** T2"),
        ("geb. 23.4.51 AX T2", "*** AX T2"),
        ("T2 4711", "T2 ***"),
        ("T1 C DOE", "T1 ***"),
        ("AX T1 +Carol", "AX T1 +***"),
        ("C+Doe T1", "*** T1"),
        ("JaneT1", "***"),
        ("DOE^JANE T1", "*** T1"),
        ("M\u00fcller T1", "*** T1"),
        ("Mu\u0308ller T1", "*** T1"),
        ("\u674e\u5a1c T1", "*** T1"),
        ("T1\u2028DOE", "T1***"),
        ("FLAIR\nDOE", "FLAIR***"),
    ],
)
def test_hidden(text, shown):
    assert show_description(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("AX T1 +C", "AX T1+C", "C+ BRAVO", "t1_mprage_sag_p2_iso", "T1 0.9 mm", "FLAIR 1mm", "T1 w/o contrast"),
        *("ep2d_diff_ADC", "T1 POST", "dwi_b1000", "T2*", "localizer", "t2_tirm_tra_dark-fluid", ""),
    ],
)
def test_shown(text):
    assert show_description(text) == text


def test_usual_descriptions_can_be_told_apart():
    for modality in ("FLAIR", "T1w", "T1gd", "T2w"):
        for text in NAMES[modality]:
            assert re.search("[a-z]", show_description(text), re.IGNORECASE), text


def test_words_of_the_header():
    assert show_description("T1 POST Head", ["POST^HEAD"]) == "T1 ***"
    assert show_description("T1_POST_BRAIN", ["", "brain-17"]) == "T1_POST_***"


@given(st.lists(st.one_of(st.sampled_from(["T1", "_", "-", " ", "mm", "+C", "C+", "w/o", "p"]), st.text()), max_size=8))
def test_no_word_is_made_up_and_no_number_is_shown(parts):
    text = "".join(parts)
    shown = show_description(text)
    assert all(piece in text for piece in shown.split("***"))
    assert not re.search(r"\d{3}", re.sub("b1000|b500|b800", "", shown, flags=re.IGNORECASE))
