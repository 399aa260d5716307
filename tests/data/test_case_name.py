from __future__ import annotations

import pytest

from pu_unet_monai.data.case_name import name_of_files


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["BraTS2021_01476.nii.gz"], "BraTS2021_01476"),
        (["ISIC_0000001.jpg"], "ISIC_0000001"),
        (["A_01_flair.nii.gz", "A_01_t1.nii.gz", "A_01_t1ce.nii.gz", "A_01_t2.nii.gz"], "A_01"),
        (["G-005-000-t2f.nii", "G-005-000-t1n.nii", "G-005-000-t1c.nii", "G-005-000-t2w.nii"], "G-005-000"),
        (["P7/flair.mha", "P7/t1.mha", "P7/t1ce.mha", "P7/t2.mha"], "P7"),
        (["P7_FLAIR.nii", "P7-T1.nii", "P7 T1 post.nii", "P7_T2.nii"], "P7"),
        (["P7/t2f.mha", "P7/t1n.mha", "P7/t1c.mha", "P7/t2w.mha"], "P7"),
    ],
)
def test_name(files, name):
    assert name_of_files(files) == name
