from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pu_unet_monai.errors import UserError
from pu_unet_monai.losses import SparseCrossEntropyLoss


def volume(classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of two volumes of 4x4x4 voxels, and their labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(max(classes, 2), (2, 1, 4, 4, 4), generator=generator)
    return torch.randn(2, classes, 4, 4, 4, generator=generator), labels


def test_worked_numbers():
    logits = torch.tensor([[[0.7, 0.2, 0.1], [0.2, 0.3, 0.1], [0.1, 0.5, 0.8]]]).log()
    labels = torch.tensor([[[0, 1, 255]]])
    expected = -(math.log(0.7) + math.log(0.3)) / 2
    assert SparseCrossEntropyLoss()(logits, labels).item() == pytest.approx(expected, rel=1e-5)
    expected = -(0.1 * math.log(0.7) + 2 * math.log(0.3)) / 2.1
    weighted = SparseCrossEntropyLoss(class_weights=[0.1, 2, 1])
    assert weighted(logits, labels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("classes", [1, 3])
def test_gradient_of_unlabelled_voxels_is_exactly_zero(classes):
    logits, labels = volume(classes)
    logits.requires_grad_()
    unlabelled = torch.ones(4, dtype=torch.bool)
    unlabelled[2] = False  # one annotated slice
    labels[:, :, unlabelled] = 255
    SparseCrossEntropyLoss()(logits, labels).backward()
    assert torch.equal(logits.grad[:, :, unlabelled], torch.zeros(2, classes, 3, 4, 4))
    assert logits.grad[:, :, 2].abs().min() > 0


@settings(deadline=None)
@given(st.floats(0, 1), st.sampled_from([None, [1.0, 2.0, 0.25]]))
def test_as_ignore_index_of_pytorch(share, class_weights):
    logits, labels = volume()
    labels[torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) < share] = 255
    labels[0, 0, 0, 0, 0] = 1  # PyTorch has NaN without any
    found = SparseCrossEntropyLoss(class_weights=class_weights)(logits, labels)
    weight = None if class_weights is None else torch.tensor(class_weights)
    torch.testing.assert_close(found, F.cross_entropy(logits, labels[:, 0], weight, ignore_index=255))


def test_all_labelled_is_the_dense_loss():
    logits, labels = volume()
    torch.testing.assert_close(SparseCrossEntropyLoss()(logits, labels), F.cross_entropy(logits, labels[:, 0]))
    logits, labels = volume(1)
    dense = F.binary_cross_entropy_with_logits(logits, labels.float())
    torch.testing.assert_close(SparseCrossEntropyLoss()(logits, labels.float()), dense)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_nothing_labelled(scale):
    logits, labels = volume()
    logits = (scale * logits).requires_grad_()
    value = SparseCrossEntropyLoss(unlabelled=-1)(logits, torch.full_like(labels, -1))
    value.backward()
    assert value.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_an_unlabelled_item_leaves_the_other_alone():
    logits, labels = volume()
    alone = SparseCrossEntropyLoss()(logits[:1], labels[:1])
    labels[1] = 255
    torch.testing.assert_close(SparseCrossEntropyLoss()(logits, labels), alone)


def test_unlabelled_may_be_zero():
    """As where the annotation begins at 1: then class 0 has no voxel."""
    logits, labels = volume()
    labels[:, :, 0] = 0
    found = SparseCrossEntropyLoss(unlabelled=0)(logits, labels)
    torch.testing.assert_close(found, F.cross_entropy(logits, labels[:, 0], ignore_index=0))


def test_wrong_options_and_labels():
    logits, labels = volume()
    with pytest.raises(UserError, match=r"class_weights: \[1, -1\], expected numbers from 0 up"):
        SparseCrossEntropyLoss(class_weights=[1, -1])
    with pytest.raises(UserError, match="class_weights: 2 numbers, expected one for each of 3 classes"):
        SparseCrossEntropyLoss(class_weights=[1, 1])(logits, labels)
    labels[0, 0, 0] = 255
    with pytest.raises(UserError, match="label map: holds 0 to 255, expected 0 to 2, or -1 where unlabelled"):
        SparseCrossEntropyLoss(unlabelled=-1)(logits, labels)
