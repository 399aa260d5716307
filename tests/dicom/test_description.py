"""What series are by their descriptions: as scanners of several makers, and BraTS, call them."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from pu_unet_monai.dicom.description import modality_of_series

NAMES = {
    "FLAIR": [
        *("AX FLAIR", "t2_tirm_tra_dark-fluid", "T2-FLAIR", "Sag CUBE T2 FLAIR", "FLAIR +C", "t2f", "T2 FLAIR post"),
        *("t2_space_dark-fluid_sag", "3D_FLAIR_VISTA", "FLAIR w/o"),
    ],
    "T1w": [
        *(
            "AX T1",
            "t1_mprage_sag",
            "T1W_SE",
            "FSPGR BRAVO",
            "T1 pre contrast",
            "T1 without Gd",
            "t1n",
            "T1 non contrast",
        ),
        *("AX T1 FLAIR", "T1 native", "T1-PRE", "T1 w/o contrast", "T1 no contrast", "T1 FFE", "T1_precontrast"),
    ],
    "T1gd": [
        *("AX T1 POST", "T1 +C", "AX T1+C", "t1_mprage_tra_Gd", "t1ce", "T1 KM", "3D T1 post-contrast", "t1c"),
        *("MPRAGE_GD", "T1 +Gd", "Ax T1 FLAIR +C", "T1 postcontrast", "T1_CE_fs"),
    ],
    "T2w": ["AX T2", "t2_tse_tra", "T2W_TSE", "t2w", "T2 FSE fs", "T2_SPACE"],
    None: [
        *("AX T2*", "t2star_map", "ep2d_diff_ADC", "DWI T2", "localizer", "T1 sub", "3 plane loc T2", "", "C-spine"),
        *("T2 C-spine", "T1 pre and post contrast", "T1 post without fat sat", "PD T2", "DIR", "T1 map", "T2 GRE"),
        *("T2_FFE", "T1/T2", "T1 dynamic", "FLAIR sub", "STIR T2", "SWI", "T1 post subtraction", "TOF_3D", "dwi_b1000"),
    ],
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


def test_protocol_name_does_not_overrule_the_description():
    header = Dataset()
    header.SeriesDescription, header.ProtocolName = "ADC", "t2_tse"
    assert modality_of_series(header) is None


def test_header_without_any_words():
    assert modality_of_series(Dataset()) is None
