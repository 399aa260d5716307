"""What series are by their descriptions: as scanners of several makers, and BraTS, call them."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from pu_unet_monai.dicom.description import modality_of_series

NAMES = {
    "FLAIR": ["AX FLAIR", "t2_tirm_tra_dark-fluid", "T2-FLAIR", "Sag CUBE T2 FLAIR", "FLAIR +C", "t2f"],
    "T1w": [
        "AX T1",
        "t1_mprage_sag",
        "T1W_SE",
        "FSPGR BRAVO",
        "T1 pre contrast",
        "T1 without Gd",
        "t1n",
        "T1 non contrast",
    ],
    "T1gd": ["AX T1 POST", "T1 +C", "AX T1+C", "t1_mprage_tra_Gd", "t1ce", "T1 KM", "3D T1 post-contrast", "t1c"],
    "T2w": ["AX T2", "t2_tse_tra", "T2W_TSE", "t2w"],
    None: ["AX T2*", "t2star_map", "ep2d_diff_ADC", "DWI T2", "localizer", "T1 sub", "3 plane loc T2", "", "C-spine"],
}


@pytest.mark.parametrize(("description", "modality"), [(name, key) for key, names in NAMES.items() for name in names])
def test_descriptions(description, modality):
    header = Dataset()
    header.SeriesDescription = description
    assert modality_of_series(header) == modality


@pytest.mark.parametrize(
    ("description", "agent", "modality"),
    [
        ("AX T1", "GADAVIST", "T1gd"),
        ("AX T1", "none", "T1w"),
        ("AX T1 PRE", "GADAVIST", "T1w"),
        ("T2", "GADAVIST", "T2w"),
    ],
)
def test_contrast_agent_makes_a_t1_enhanced(description, agent, modality):
    header = Dataset()
    header.SeriesDescription, header.ContrastBolusAgent = description, agent
    assert modality_of_series(header) == modality


def test_protocol_name_helps_where_the_description_says_nothing():
    header = Dataset()
    header.SeriesDescription, header.ProtocolName = "axial", "t2_tse"
    assert modality_of_series(header) == "T2w"


def test_header_without_any_words():
    assert modality_of_series(Dataset()) is None
