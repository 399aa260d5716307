from __future__ import annotations

import pytest

from pu_unet_monai.data.modalities import MODALITIES, modality_of, split_modality

# name, what is before the modality, modality
NAMES = [
    ("BraTS2021_01476_flair", "BraTS2021_01476", "FLAIR"),
    ("BraTS2021_01476_t1", "BraTS2021_01476", "T1w"),
    ("BraTS2021_01476_t1ce", "BraTS2021_01476", "T1gd"),
    ("BraTS2021_01476_t2", "BraTS2021_01476", "T2w"),
    ("BraTS-GLI-00000-000-t2f", "BraTS-GLI-00000-000", "FLAIR"),
    ("BraTS-GLI-00000-000-t1n", "BraTS-GLI-00000-000", "T1w"),
    ("BraTS-GLI-00000-000-t1c", "BraTS-GLI-00000-000", "T1gd"),
    ("BraTS-GLI-00000-000-t2w", "BraTS-GLI-00000-000", "T2w"),
    ("UPENN-GBM-00002_11_T1GD", "UPENN-GBM-00002_11", "T1gd"),
    ("TCGA_t2w", "TCGA", "T2w"),
    ("sub-01.T1w", "sub-01", "T1w"),
    ("P7_t1wce", "P7", "T1gd"),
    ("P7_T2FLAIR", "P7", "FLAIR"),
    ("P7_T2_FLAIR", "P7", "FLAIR"),
    ("AX T2 FLAIR", "AX", "FLAIR"),
    ("AX T1 POST", "AX", "T1gd"),
    ("P7_t1-ce", "P7", "T1gd"),
    ("t2_t1", "t2", "T1w"),
    ("P7_t2_", "P7", "T2w"),
    ("t1", "", "T1w"),
    ("T2_FLAIR", "", "FLAIR"),
    ("_t1", "", "T1w"),
]


@pytest.mark.parametrize(("name", "rest", "modality"), NAMES)
def test_the_last_token_says_the_modality(name, rest, modality):
    assert split_modality(name) == (rest, modality)
    assert modality_of(name) == modality
    assert modality in MODALITIES


@pytest.mark.parametrize("name", ["BraTS2021_01476", "t1_study", "P7_flair_01", "P7flair", "P7_t1x", "P7_t3", "", "_"])
def test_other_names_say_none(name):
    assert split_modality(name) == (name, None)
    assert modality_of(name) is None


def test_the_order_of_the_channels():
    assert MODALITIES == ("FLAIR", "T1w", "T1gd", "T2w")
