"""Comparing an exported network with the network itself."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import UNet

from pu_unet_monai.errors import UserError
from pu_unet_monai.networks.nets import OriginalUNet, PUUNet
from pu_unet_monai.runtime.comparison import SHAPES, Reference, difference, references

REFERENCE = Reference(torch.zeros(1, 3, 2, 1), torch.tensor([[[[1.0], [-4.0]]]]))


def test_difference_by_hand():
    found = difference(lambda image: torch.tensor([[[[1.5], [-4.25]]]]), REFERENCE)
    assert found == {"shape": [1, 3, 2, 1], "absolute": 0.5, "relative": 0.125}


def test_logits_that_cannot_be_compared():
    with pytest.raises(ValueError, match=r"shape \[1, 1, 1, 2\], expected \[1, 1, 2, 1\]"):
        difference(lambda image: torch.zeros(1, 1, 1, 2), REFERENCE)
    with pytest.raises(ValueError, match="NaN or infinite"):
        difference(lambda image: torch.tensor([[[[1.0], [float("nan")]]]]), REFERENCE)


def test_references_are_the_same_at_every_call():
    network = torch.nn.Conv2d(3, 1, 1)
    first, second = (references(network, 3, 2) for _ in range(2))
    assert [tuple(r.image.shape) for r in first] == [(batch, 3, *size) for batch, *size in SHAPES[2]]
    assert all(torch.equal(a.image, b.image) and torch.equal(a.logits, b.logits) for a, b in zip(first, second))  # noqa: B905


def test_sizes_that_do_not_fit_are_left_out():
    found = references(UNet(2, 3, 1, (4, 8, 16), (2, 2)).eval(), 3, 2)
    assert [r.image.shape[2:] for r in found] == [(16, 16), (64, 48), (352, 352)]


def test_a_network_that_takes_none_of_the_sizes():
    with pytest.raises(UserError, match="the network takes none of the sizes"):
        references(OriginalUNet(spatial_dims=2, in_channels=3, out_channels=1, channels=(4, 8, 16, 32, 64, 128)), 3, 2)


def test_what_the_network_refuses_is_left_out():
    """A group of one value at the lowest resolution, of one image."""
    found = references(PUUNet(channels=(16, 8)).eval(), 3, 2)
    assert [tuple(r.image.shape) for r in found] == [(batch, 3, *size) for batch, *size in SHAPES[2] if size != [1, 1]]
