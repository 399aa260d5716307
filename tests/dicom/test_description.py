"""What series are by their descriptions: as scanners of several makers, and BraTS, call them."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from pu_unet_monai.dicom.description import modality_of_series

NAMES = {
    "FLAIR": [
        *("AX FLAIR", "t2_tirm_tra_dark-fluid", "T2-FLAIR", "Sag CUBE T2 FLAIR", "FLAIR +C", "t2f", "T2 FLAIR post"),
        *("t2_space_dark-fluid_sag_p2_iso", "3D_FLAIR_VISTA", "FLAIR w/o", "FLAIR 1mm"),
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
        *("AX T1 FLAIR", "T1 native", "T1-PRE", "T1 w/o contrast", "T1 no contrast", "T1 FFE", "eT1W_3D_TFE T1"),
    ],
    "T1gd": [
        *("AX T1 POST", "T1 +C", "AX T1+C", "t1_mprage_tra_Gd", "t1ce", "T1 KM", "3D T1 post-contrast", "t1c"),
        *("MPRAGE_GD", "T1 +Gd", "Ax T1 FLAIR +C", "T1 postcontrast", "T1_CE_fs", "AX T1 C+", "BRAVO C+", "T1 POSTGAD"),
    ],
    "T2w": ["AX T2", "t2_tse_tra", "T2W_TSE", "t2w", "T2 FSE fs", "T2_SPACE", "t2_tse_tra_512"],
    None: [
        *("AX T2*", "t2star_map", "ep2d_diff_ADC", "DWI T2", "localizer", "T1 sub", "3 plane loc T2", "", "C-spine"),
        *("T2 C-spine", "T1 pre and post contrast", "T1 post without fat sat", "PD T2", "DIR", "T1 map", "T2 GRE"),
        *("T2_FFE", "T1/T2", "T1 dynamic", "FLAIR sub", "STIR T2", "SWI", "T1 post subtraction", "TOF_3D", "dwi_b1000"),
        *("T1 ohne KM", "T1 sans gado", "T1 sin gado", "T1 zonder Gd", "T1 before contrast", "T1 minus contrast"),
        *(
            "T1 GD-",
            "T1 CE- ax",
            "T1 post-op",
            "T1_SE_C",
            "T1+",
            "T1 POSTCON",
            "T1 postKM",
            "T1 enhanced",
            "T1 Gadavist",
        ),
        *("T1 KONTRAST", "T1 mdc", "T1 post subtracted", "T1 mapping", "T2 mapping", "EPI T2 b0", "T2 GE"),
        *(
            "t1_vibe_dixon_tra_F",
            "MPRAGE PHASE",
            "mp2rage_INV2",
            "T2 BLADE cor ORBIT",
            "t2_spc_da-fl_irprep",
            "t2_tirm_cor",
        ),
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


@pytest.mark.parametrize(
    ("description", "protocol"),
    [("ADC", "t2_tse"), ("Subtraktion", "t1 Gd"), ("b1000", "ep2d t2"), ("T1", "T1 +C"), ("", "brain tumour")],
)
def test_protocol_name_does_not_overrule_the_description(description, protocol):
    header = Dataset()
    header.SeriesDescription, header.ProtocolName = description, protocol
    assert modality_of_series(header) is None


def test_protocol_of_the_whole_examination_is_no_matter():
    header = Dataset()
    header.SeriesDescription, header.ProtocolName = "AX T1 +C", "Brain/Tumour w & w/o"
    assert modality_of_series(header) == "T1gd"


def test_phase_images_are_no_modality():
    header = Dataset()
    header.SeriesDescription, header.ImageType = "AX T1", ["ORIGINAL", "PRIMARY", "P", "ND"]
    assert modality_of_series(header) is None


def test_header_without_any_words():
    assert modality_of_series(Dataset()) is None
