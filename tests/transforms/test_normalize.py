from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import NormalizeIntensity

from pu_unet_monai.transforms import NormalizeForeground, NormalizeForegroundd


def test_worked_numbers():
    """1 and 3 have mean 2 and deviation 1; one value, or several equal ones, have none and become 0."""
    volume = np.array([[0, 1, 3, 0], [0, 0, -7, 0], [5, 5, 5, 5], [0, 0, 0, 0]], np.int16)
    expected = [[0, -1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert NormalizeForeground()(volume).tolist() == expected
    assert NormalizeForeground()(torch.from_numpy(volume)).tolist() == expected


def test_metadata_stay_and_the_input_too():
    values = torch.tensor([[[1.0, 0.0], [4.0, 7.0]]])
    volume = MetaTensor(values.clone(), affine=torch.diag(torch.tensor([2.0, 3, 4, 1])), meta={"case": "P1"})
    volume.push_applied_operation({"class": "test"})
    found = NormalizeForegroundd("image")({"image": volume, "label": 3})
    assert found["label"] == 3
    assert torch.equal(volume.as_tensor(), values)
    assert isinstance(found["image"], MetaTensor)
    assert torch.equal(found["image"].affine, volume.affine)
    assert found["image"].meta["case"] == "P1"
    assert found["image"].applied_operations == volume.applied_operations
    assert found["image"][0, 1].tolist() == pytest.approx([0, 1.5**0.5])


@settings(max_examples=80, deadline=None)
@given(
    dtype=st.sampled_from([np.uint8, np.int16, np.int32, np.float32, np.float64]),
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    zeros=st.floats(0, 1),
    data=st.data(),
)
def test_bit_for_bit_as_monai(dtype, shape, zeros, data):
    """Whatever the type, the order in memory and the part of a larger volume that is taken."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    full = rng.integers(0 if dtype == np.uint8 else -300, 256, (3, *(size + 4 for size in shape))).astype(dtype)
    if full.dtype.kind == "f":
        full += rng.random(full.shape).astype(dtype)
    full[rng.random(full.shape) < zeros] = 0
    order = data.draw(st.permutations(range(1 + len(shape))))
    stored = np.ascontiguousarray(full.transpose(order)).transpose(np.argsort(order))
    part = torch.from_numpy(stored)[(slice(None), *(slice(2, -2) for _ in shape))]
    expected = NormalizeIntensity(nonzero=True, channel_wise=True)(part.clone().contiguous())
    found = NormalizeForeground()(part)
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    assert torch.equal(found, expected.as_tensor())


def test_long_sums_are_rounded_as_monai_rounds_them():
    """Single precision: another order of a million values gives another mean."""
    values = torch.from_numpy(np.random.default_rng(0).integers(0, 3000, (1, 60, 130, 128)).astype(np.int16))
    volume = values.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1)
    expected = NormalizeIntensity(nonzero=True, channel_wise=True)(values.float())
    assert torch.equal(NormalizeForeground()(volume), expected.as_tensor())
