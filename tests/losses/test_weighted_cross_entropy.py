from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pu_unet_monai.errors import UserError
from pu_unet_monai.losses import WeightedCrossEntropyLoss


def channels(*rows: list[float]) -> torch.Tensor:
    """One item; a row of pixels for each channel."""
    return torch.tensor([rows], dtype=torch.float32)


LOSS = WeightedCrossEntropyLoss()


def test_worked_numbers_of_sigmoid():
    logits = channels([0.8, 0.6, 0.3, 0.1]).logit()
    target = channels([1, 1, 0, 0], [1, 11, 1, 3])
    expected = -(math.log(0.8) + 11 * math.log(0.6) + math.log(0.7) + 3 * math.log(0.9)) / 16
    assert LOSS(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_worked_numbers_of_softmax():
    logits = channels([0.7, 0.2, 0.1], [0.2, 0.3, 0.1], [0.1, 0.5, 0.8]).log()
    target = channels([0, 1, 2], [1, 4, 0.5])
    expected = -(math.log(0.7) + 4 * math.log(0.3) + 0.5 * math.log(0.8)) / 5.5
    assert LOSS(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_independent_classes_share_the_weights():
    logits = channels([0.8, 0.6], [0.3, 0.1]).logit()
    target = channels([1, 0], [0, 1], [1, 3])
    expected = -(math.log(0.8) + 3 * math.log(0.4) + math.log(0.7) + 3 * math.log(0.1)) / (2 * 4)
    assert LOSS(logits, target).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("size", [(5, 7), (3, 4, 5)])
@settings(deadline=None)
@given(weight=st.floats(1e-3, 1e3))
def test_equal_weights_give_the_plain_loss(classes, size, weight):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes, *size, generator=generator)
    labels = torch.randint(max(classes, 2), (2, 1, *size), generator=generator)
    plain = F.cross_entropy(logits, labels[:, 0]) if classes > 1 else None
    if plain is None:
        plain = F.binary_cross_entropy_with_logits(logits, labels.float())
    target = torch.cat([labels.float(), torch.full(labels.shape, weight)], dim=1)
    torch.testing.assert_close(LOSS(logits, target), plain)


@pytest.mark.parametrize("classes", [1, 3])
def test_weight_zero_is_not_there(classes):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes, 4, 4, generator=generator).requires_grad_()
    labels = torch.randint(max(classes, 2), (2, 1, 4, 4), generator=generator).float()
    weight = torch.ones(2, 1, 4, 4)
    weight[:, :, 1] = 0
    labels[:, :, 1] = 255  # no class at all
    value = LOSS(logits, torch.cat([labels, weight], dim=1))
    value.backward()
    assert torch.equal(logits.grad[:, :, 1], torch.zeros(2, classes, 4))
    assert logits.grad[:, :, [0, 2, 3]].abs().min() > 0
    kept = [0, 2, 3]
    without = LOSS(logits[:, :, kept], torch.cat([labels, weight], dim=1)[:, :, kept])
    torch.testing.assert_close(value, without)


@pytest.mark.parametrize("logit", [0.0, 100.0, -100.0])
def test_no_weight_at_all(logit):
    logits = torch.full((1, 1, 4), logit, requires_grad=True)
    value = LOSS(logits, torch.zeros(1, 2, 4))
    value.backward()
    assert value.item() == 0
    assert torch.equal(logits.grad, torch.zeros(1, 1, 4))


def test_saturated_items_have_finite_gradients():
    logits = channels([100, 100, -100, -100]).requires_grad_()
    value = LOSS(logits, channels([1, 0, 0, 1], [1, 10, 1, 10]))
    value.backward()
    assert value.item() == pytest.approx(2 * 10 * 100 / 22)
    assert logits.grad.flatten().tolist() == pytest.approx([0, 10 / 22, 0, -10 / 22])


def test_low_precision():
    logits = 3 * torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    target = torch.cat([(logits > 1).float(), logits.abs()], dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = LOSS(logits.bfloat16(), target)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, LOSS(logits.bfloat16().float(), target), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        ((1, 1, 4), (1, 1, 4), "target: 1 channel, expected labels and weights"),
        ((1, 3, 4), (1, 3, 4), r"labels: \(1, 2, 4\) .* expected one channel or 3"),
        ((1, 1, 4), (1, 2, 5), r"labels: \(1, 1, 5\) .* size of the network's output \(1, 1, 4\)"),
    ],
)
def test_what_does_not_fit_is_refused(logits, target, message):
    with pytest.raises(UserError, match=message):
        LOSS(torch.zeros(logits), torch.zeros(target))
