"""That MONAI's ``DiceLoss(squared_pred=True)`` is the soft Dice of V-Net, as the package's documentation says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.losses import DiceLoss

LOGITS = torch.tensor([0.8, 0.6, 0.3, 0.1]).logit().reshape(1, 1, 1, 2, 2)
TRUTH = torch.tensor([1.0, 1, 0, 0]).reshape(1, 1, 1, 2, 2)


def test_worked_numbers():
    # p g sums to 1.4; squares of p .64 + .36 + .09 + .01 = 1.1, of g 2
    squared = DiceLoss(sigmoid=True, squared_pred=True)(LOGITS, TRUTH)
    assert squared.item() == pytest.approx(1 - 2.8 / 3.1, rel=1e-4)
    # with p itself in the denominator it is another: 1.8 + 2
    assert DiceLoss(sigmoid=True)(LOGITS, TRUTH).item() == pytest.approx(1 - 2.8 / 3.8, rel=1e-4)


@settings(deadline=None)
@given(
    hnp.arrays("float32", (2, 3, 4), elements=st.floats(0, 1, width=32)),
    hnp.arrays("bool", (2, 3, 4)).filter(lambda truth: truth.any(axis=-1).all()),
)
def test_formula_of_the_paper(prediction, truth):
    p, g = torch.from_numpy(prediction), torch.from_numpy(truth).float()
    expected = (1 - 2 * (p * g).sum(-1) / ((p**2).sum(-1) + (g**2).sum(-1))).mean()
    found = DiceLoss(squared_pred=True, smooth_nr=0, smooth_dr=0)(p, g)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_gradient_of_the_paper():
    """``dD/dp_j = 2 (g_j (sum p^2 + sum g^2) - 2 p_j sum(p g)) / (sum p^2 + sum g^2)^2``; the loss is ``1 - D``."""
    p = torch.tensor([[[0.8, 0.6, 0.3, 0.1]]], requires_grad=True)
    g = TRUTH.reshape(1, 1, 4)
    DiceLoss(squared_pred=True, smooth_nr=0, smooth_dr=0)(p, g).backward()
    expected = [
        -2 * (truth * 3.1 - 2 * value * 1.4) / 3.1**2 for value, truth in ((0.8, 1), (0.6, 1), (0.3, 0), (0.1, 0))
    ]
    assert p.grad.flatten().tolist() == pytest.approx(expected, rel=1e-5)
