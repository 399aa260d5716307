from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceCELoss

from pu_unet_monai.errors import UserError
from pu_unet_monai.losses import DiceWeightedBCELoss


def image(*pixels: float) -> torch.Tensor:
    """One item of one class."""
    return torch.tensor(pixels, dtype=torch.float32).reshape(1, 1, -1)


LESION = image(1, 1, 0, 0)
EMPTY = image(0, 0, 0, 0)
SOFT = image(0.8, 0.6, 0.3, 0.1).logit()
# p g sums to 1.4, p to 1.8, g to 2: 1 - (2.8 + 1) / (3.8 + 1)
SOFT_DICE = 1 - 3.8 / 4.8


def test_worked_numbers():
    lesion, rest = math.log(0.8) + math.log(0.6), math.log(0.7) + math.log(0.9)
    for pos_weight in (1.0, 2.0, 10.0):
        expected = SOFT_DICE - (pos_weight * lesion + rest) / 4
        assert DiceWeightedBCELoss(pos_weight)(SOFT, LESION).item() == pytest.approx(expected, rel=1e-5)
    weighted = DiceWeightedBCELoss(2.0, dice_weight=0.5, bce_weight=3.0)
    expected = 0.5 * SOFT_DICE - 3 * (2 * lesion + rest) / 4
    assert weighted(SOFT, LESION).item() == pytest.approx(expected, rel=1e-5)


@settings(deadline=None)
@given(st.floats(0, 1e4))
def test_pos_weight_leaves_dice_alone(pos_weight):
    dice = DiceWeightedBCELoss(pos_weight, bce_weight=0)(SOFT, LESION)
    assert dice.item() == pytest.approx(SOFT_DICE, rel=1e-5)


def test_where_monai_scales_dice():
    """What the class is for: two classes, the second weighed by 3, no cross-entropy."""
    logits, truth = torch.cat([SOFT, SOFT], dim=1), torch.cat([LESION, LESION], dim=1)
    plain, scaled = (
        DiceCELoss(sigmoid=True, lambda_ce=0, weight=torch.tensor(weight), smooth_nr=1, smooth_dr=1)(logits, truth)
        for weight in ([1.0, 1.0], [1.0, 3.0])
    )
    assert plain.item() == pytest.approx(SOFT_DICE, rel=1e-5)
    assert scaled.item() == pytest.approx(2 * SOFT_DICE, rel=1e-5)
    ours = DiceWeightedBCELoss([1.0, 3.0], bce_weight=0)(logits, truth)
    assert ours.item() == pytest.approx(SOFT_DICE, rel=1e-5)


def test_a_weight_for_each_class():
    logits, truth = torch.cat([SOFT, SOFT], dim=1), torch.cat([LESION, 1 - LESION], dim=1)
    loss = DiceWeightedBCELoss([2.0, 5.0], dice_weight=0)
    first = 2 * math.log(0.8) + 2 * math.log(0.6) + math.log(0.7) + math.log(0.9)
    second = math.log(0.2) + math.log(0.4) + 5 * math.log(0.3) + 5 * math.log(0.1)
    assert loss(logits, truth).item() == pytest.approx(-(first + second) / 8, rel=1e-5)
    # in 2D and 3D the classes stay on the second axis
    for shape in ((1, 2, 2, 2), (1, 2, 1, 2, 2)):
        same = loss(logits.reshape(shape), truth.reshape(shape))
        assert same.item() == pytest.approx(-(first + second) / 8, rel=1e-5)


def test_missed_lesion_pulls_harder():
    gradients = []
    for pos_weight in (1.0, 4.0):
        logits = torch.zeros(1, 1, 4, requires_grad=True)
        DiceWeightedBCELoss(pos_weight, dice_weight=0)(logits, LESION).backward()
        gradients.append(logits.grad.flatten().tolist())
    assert gradients[0] == pytest.approx([-0.125, -0.125, 0.125, 0.125])
    assert gradients[1] == pytest.approx([-0.5, -0.5, 0.125, 0.125])


@pytest.mark.parametrize(
    ("logits", "truth"),
    [
        pytest.param(image(100, 100, -100, -100), LESION, id="perfect"),
        pytest.param(image(-100, -100, -100, -100), EMPTY, id="perfectly empty"),
        pytest.param(image(100, 100, 100, 100), EMPTY, id="empty, all seen"),
        pytest.param(image(100, 100, 100, 100), 1 - EMPTY, id="full, all seen"),
        pytest.param(image(-100, -100, 100, 100), LESION, id="saturated and wrong"),
        pytest.param(torch.cat([image(100, 100, -100, -100), image(0, 0, 0, 0)]), LESION.repeat(2, 1, 1), id="mixed"),
    ],
)
def test_finite_gradients(logits, truth):
    logits = logits.clone().requires_grad_()
    value = DiceWeightedBCELoss(10.0)(logits, truth)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


def test_right_items_cost_nothing():
    for logits, truth in ((image(100, 100, -100, -100), LESION), (image(-100, -100, -100, -100), EMPTY)):
        assert DiceWeightedBCELoss(10.0)(logits, truth).item() == pytest.approx(0, abs=1e-6)


def test_low_precision():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 1, 16, 16, generator=generator)
    truth = (torch.rand(2, 1, 16, 16, generator=generator) > 0.7).float()
    loss = DiceWeightedBCELoss(3.0)
    expected = loss(logits, truth)
    with torch.autocast("cpu", torch.bfloat16):
        same, rounded = loss(logits, truth), loss(logits.bfloat16(), truth)
    assert same.dtype == rounded.dtype == torch.float32
    torch.testing.assert_close(same, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(rounded, loss(logits.bfloat16().float(), truth), rtol=1e-6, atol=0)
    torch.testing.assert_close(loss(logits, truth.bool()), expected)


def test_no_state_of_its_own():
    assert not DiceWeightedBCELoss().state_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pos_weight": -1.0}, r"pos_weight: \[-1\.0\], expected"),
        ({"pos_weight": [1.0, math.nan]}, r"pos_weight: \[1\.0, nan\], expected"),
        ({"dice_weight": -1.0}, "dice_weight: "),
        ({"bce_weight": math.nan}, "bce_weight: "),
    ],
)
def test_invalid_weights(options, message):
    with pytest.raises(UserError, match=message):
        DiceWeightedBCELoss(**options)


def test_wrong_number_of_weights():
    with pytest.raises(UserError, match="pos_weight: 2 numbers, expected 1 or one for each of 1 classes"):
        DiceWeightedBCELoss([1.0, 2.0])(SOFT, LESION)
