"""The numberings of brain tumours."""

from __future__ import annotations

import pytest

from pu_unet_monai.data.label_numbering import CLASS_NAMES, NUMBERINGS, check_numbering
from pu_unet_monai.errors import UserError


def test_known_numberings_pass():
    for name in NUMBERINGS:
        check_numbering(name)


@pytest.mark.parametrize("name", ["binary", "BraTS", "", 3, ["brats"], {}, None])
def test_unknown_numbering_is_refused_with_the_known_ones(name):
    with pytest.raises(UserError, match=r"label_numbering: .* is not known; set it to 'brats' or 'decathlon'"):
        check_numbering(name)


def test_written_brats_values_are_class_indices():
    assert CLASS_NAMES == ("background", "non-enhancing core", "edema", "enhancing tumour")
    assert [values[0] for values in NUMBERINGS["brats"].values()] == [1, 2, 3]


@pytest.mark.parametrize("numbering", NUMBERINGS.values(), ids=NUMBERINGS.keys())
def test_every_value_means_one_structure(numbering):
    values = [value for structure in numbering.values() for value in structure]
    assert len(values) == len(set(values))
    assert 0 not in values
