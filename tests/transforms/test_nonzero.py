from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import CropForeground

from pu_unet_monai.transforms import foreground, nonzero


def test_any_channel_counts_and_negative_values_do():
    volume = torch.zeros(2, 3, 4)
    volume[0, 1, 2], volume[1, 2, 0] = -1, 0.5
    mask = foreground(volume)
    assert mask.shape == (1, 3, 4)
    assert np.argwhere(mask[0]).tolist() == [[1, 2], [2, 0]]


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 4),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    number=st.integers(0, 5),
    dtype=st.sampled_from([torch.uint8, torch.int16, torch.float32]),
    seed=st.integers(0, 2**32 - 1),
)
def test_box_is_that_of_nonzero(channels, shape, number, dtype, seed):
    """Of no voxel, of one, and of some at the edges."""
    rng = np.random.default_rng(seed)
    volume = torch.zeros((channels, *shape), dtype=dtype)
    for _ in range(number):
        volume[tuple(int(rng.integers(size)) for size in volume.shape)] = 7
    image = MetaTensor(volume.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1))
    expected, first, last = CropForeground(nonzero, return_coords=True)(MetaTensor(volume))
    found, start, end = CropForeground(foreground, return_coords=True)(image)
    assert (start.tolist(), end.tolist()) == (first.tolist(), last.tolist())
    assert torch.equal(found, expected)
