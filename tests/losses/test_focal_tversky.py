from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pu_unet_monai.losses import BCEFocalTverskyLoss, FocalTverskyLoss


def image(*pixels: float) -> torch.Tensor:
    """One item of one class."""
    return torch.tensor(pixels, dtype=torch.float32).reshape(1, 1, -1)


# prediction (probabilities), truth, TP, FP, FN, loss = (1 - (TP + 1) / (TP + .3 FP + .7 FN + 1)) ** .75
TABLE = {
    # 1 - 2.1 / 2.94 = .285714
    "soft": (image(0.8, 0.6, 0.3, 0.1), image(1, 0, 1, 0), 1.1, 0.7, 0.9, 0.390795),
    # 1 - 1 / 3 = .666667
    "wrong": (image(0, 1, 0, 1), image(1, 0, 1, 0), 0, 2, 2, 0.737788),
    # 1 - 1 / 1.6 = .375
    "seen where empty": (image(1, 1, 0, 0), image(0, 0, 0, 0), 0, 2, 0, 0.479207),
    # 1 - 1 / 2.4 = .583333
    "all missed": (image(0, 0, 0, 0), image(1, 1, 0, 0), 0, 0, 2, 0.667479),
    # 1 - 2 / 2.6 = .230769
    "too large": (image(1, 1, 1, 0), image(1, 0, 0, 0), 1, 2, 0, 0.332953),
    # 1 - 2 / 3.4 = .411765
    "too small": (image(1, 0, 0, 0), image(1, 1, 1, 0), 1, 0, 2, 0.514028),
    # 0, floored at 1e-7
    "perfect": (image(1, 0, 1, 0), image(1, 0, 1, 0), 2, 0, 0, 1e-7**0.75),
    "empty": (image(0, 0, 0, 0), image(0, 0, 0, 0), 0, 0, 0, 1e-7**0.75),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_focal_tversky(row: tuple[torch.Tensor, torch.Tensor, float, float, float, float]) -> None:
    prediction, truth, tp, fp, fn, expected = row
    assert (prediction * truth).sum().item() == pytest.approx(tp)
    assert (prediction * (1 - truth)).sum().item() == pytest.approx(fp)
    assert ((1 - prediction) * truth).sum().item() == pytest.approx(fn)
    assert FocalTverskyLoss(sigmoid=False)(prediction, truth).item() == pytest.approx(expected, rel=1e-5)


def test_sigmoid() -> None:
    prediction, truth, *_, expected = TABLE["soft"]
    assert FocalTverskyLoss()(prediction.logit(), truth).item() == pytest.approx(expected, rel=1e-5)


def test_softmax_and_label_map() -> None:
    # Classes by pixel: truth 0, 1, 1; probabilities of class 1: .2, .6, .9
    logits = torch.stack([1 - torch.tensor([0.2, 0.6, 0.9]), torch.tensor([0.2, 0.6, 0.9])]).log()[None]
    loss = FocalTverskyLoss(sigmoid=False, softmax=True, to_onehot_y=True, reduction="none")
    # Class 0: TP .8, FP .5, FN .2; class 1: TP 1.5, FP .2, FN .5
    expected = [(1 - 1.8 / (0.8 + 0.15 + 0.14 + 1)) ** 0.75, (1 - 2.5 / (1.5 + 0.06 + 0.35 + 1)) ** 0.75]
    assert loss(logits, torch.tensor([[[0, 1, 1]]])).squeeze().tolist() == pytest.approx(expected, rel=1e-5)
    without = FocalTverskyLoss(sigmoid=False, softmax=True, to_onehot_y=True, include_background=False)
    assert without(logits, torch.tensor([[[0, 1, 1]]])).item() == pytest.approx(expected[1], rel=1e-5)


def test_fn_weight_weighs_false_negatives() -> None:
    # TP 1, FN 2 against TP 1, FP 2
    missed, truth = TABLE["too small"][:2]
    loss, swapped = FocalTverskyLoss(sigmoid=False), FocalTverskyLoss(fn_weight=0.3, fp_weight=0.7, sigmoid=False)
    assert loss(missed, truth).item() == pytest.approx(0.514028, rel=1e-5)
    assert swapped(missed, truth).item() == pytest.approx(0.332953, rel=1e-5)
    assert loss(truth, missed).item() == pytest.approx(0.332953, rel=1e-5)
    assert swapped(truth, missed).item() == pytest.approx(0.514028, rel=1e-5)


def test_exponent() -> None:
    prediction, truth, *_ = TABLE["all missed"]
    for exponent, expected in ((1, 7 / 12), (2, (7 / 12) ** 2), (0.5, math.sqrt(7 / 12))):
        loss = FocalTverskyLoss(exponent=exponent, sigmoid=False)
        assert loss(prediction, truth).item() == pytest.approx(expected, rel=1e-5)


def test_per_item_and_class_then_averaged() -> None:
    # Items: a perfect one and a wrong one. Pooled, TP 2, FP 2, FN 2 would give (1 - 3 / 5) ** .75 = .502973.
    names = ("perfect", "wrong")
    prediction, truth = (torch.cat([TABLE[name][i] for name in names]) for i in (0, 1))
    expected = (0.737788 + 1e-7**0.75) / 2
    loss = FocalTverskyLoss(sigmoid=False)
    assert loss(prediction, truth).item() == pytest.approx(expected, rel=1e-5)
    # The same two as classes of one item:
    assert loss(prediction.transpose(0, 1), truth.transpose(0, 1)).item() == pytest.approx(expected, rel=1e-5)
    each = FocalTverskyLoss(sigmoid=False, reduction="none")(prediction, truth)
    assert each.shape == (2, 1)
    assert FocalTverskyLoss(sigmoid=False, reduction="sum")(prediction, truth).item() == pytest.approx(2 * expected)


def test_sum_over_classes_with_inverse_gamma() -> None:
    """The form in the docstring: mean over items of the sum over classes of (1 - TI) ** (1 / gamma)."""
    rows = [[TABLE[name] for name in names] for names in (("wrong", "all missed"), ("seen where empty", "perfect"))]
    prediction, truth = (torch.cat([torch.cat([row[i] for row in item], dim=1) for item in rows]) for i in (0, 1))
    gamma = 2
    loss = FocalTverskyLoss(exponent=1 / gamma, sigmoid=False, reduction="none")(prediction, truth).sum(1).mean()
    expected = (math.sqrt(2 / 3) + math.sqrt(7 / 12) + math.sqrt(3 / 8) + math.sqrt(1e-7)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_bce_focal_tversky() -> None:
    # Logits 0: cross-entropy log 2 = .693147; TP .5, FP 1.5, FN .5: (1 - 1.5 / 2.3) ** .75 = .452920
    logits, truth = torch.zeros(1, 1, 4), image(1, 0, 0, 0)
    assert BCEFocalTverskyLoss()(logits, truth).item() == pytest.approx(0.693147 + 0.452920, rel=1e-5)
    weighted = BCEFocalTverskyLoss(lambda_bce=0.5, lambda_tversky=2)
    assert weighted(logits, truth).item() == pytest.approx(0.5 * 0.693147 + 2 * 0.452920, rel=1e-5)
    # Cross-entropy of logit 2: log(1 + e^-2) = .126928 where the truth is 1, .126928 + 2 where it is 0.
    one = BCEFocalTverskyLoss(lambda_tversky=0)
    assert one(torch.full((1, 1, 4), 2.0), truth).item() == pytest.approx(0.126928 + 2 * 3 / 4, rel=1e-5)


LESION = image(1, 1, 0, 0)
EMPTY = image(0, 0, 0, 0)


@pytest.mark.parametrize(
    "loss",
    [FocalTverskyLoss(), BCEFocalTverskyLoss(), FocalTverskyLoss(exponent=0.33)],
    ids=["focal tversky", "with cross-entropy", "exponent .33"],
)
@pytest.mark.parametrize(
    ("logits", "truth"),
    [
        pytest.param(image(100, 100, -100, -100), LESION, id="perfect"),
        pytest.param(image(-100, -100, -100, -100), EMPTY, id="perfectly empty"),
        pytest.param(image(100, 100, 100, 100), EMPTY, id="empty, all seen"),
        pytest.param(image(100, 100, 100, 100), 1 - EMPTY, id="full, all seen"),
        pytest.param(image(-100, -100, 100, 100), LESION, id="saturated and wrong"),
        pytest.param(image(-100, -100, -100, -100), LESION, id="saturated, all missed"),
        pytest.param(torch.cat([image(100, 100, -100, -100), image(0, 0, 0, 0)]), LESION.repeat(2, 1, 1), id="mixed"),
    ],
)
def test_finite_gradients(loss: nn.Module, logits: torch.Tensor, truth: torch.Tensor) -> None:
    logits = logits.clone().requires_grad_()
    value = loss(logits, truth)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


def test_a_perfect_item_does_not_stop_the_others() -> None:
    """Its gradient is zero, not NaN, which would spread through the shared weights."""
    logits = torch.cat([image(100, 100, -100, -100), image(0, 0, 0, 0)]).requires_grad_()
    FocalTverskyLoss()(logits, LESION.repeat(2, 1, 1)).backward()
    assert not logits.grad[0].any()
    # The descent raises the lesion's logits and lowers the others.
    assert logits.grad[1].sign().flatten().tolist() == [-1, -1, 1, 1]


def empty_image_gradient(smooth: float, loss_type: type[nn.Module], logit: float) -> float:
    """Sum of the gradient on a 64x64 image without lesion, 10 of whose pixels have ``logit``, the others -10."""
    logits = torch.full((1, 1, 64, 64), -10.0)
    logits.view(-1)[:10] = logit
    logits.requires_grad_()
    loss_type(smooth_nr=smooth, smooth_dr=smooth)(logits, torch.zeros_like(logits)).backward()
    return logits.grad.sum().item()


def test_an_image_without_lesion_teaches() -> None:
    """Ten pixels seen as a lesion on an image without one."""
    # FP = 10 p, p = sigmoid(2) = .880797, and 4086 * 4.54e-5 = .1855 of the others: TI = 1 / (1 + .3 FP);
    # gradient = .75 (1 - TI)^-.25 * .3 TI^2 * sum of p (1 - p)
    fp = 10 * 0.880797 + 4086 * 4.5398e-5
    ti = 1 / (1 + 0.3 * fp)
    slope = 10 * 0.880797 * 0.119203 + 4086 * 4.5398e-5
    expected = 0.75 * (1 - ti) ** -0.25 * 0.3 * ti**2 * slope
    found = empty_image_gradient(1.0, FocalTverskyLoss, logit=2.0)
    cross_entropy = (10 * 0.880797 + 4086 * 4.5398e-5) / 64**2
    assert found == pytest.approx(expected, rel=1e-3)
    assert found > 1e-2
    assert found > 10 * cross_entropy
    assert empty_image_gradient(1.0, BCEFocalTverskyLoss, logit=2.0) == pytest.approx(found + cross_entropy, rel=1e-3)
    # With MONAI's smoothing of 1e-5 there is practically none.
    assert empty_image_gradient(1e-5, FocalTverskyLoss, logit=2.0) < 1e-5


def test_low_precision() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 1, 16, 16, generator=generator)
    truth = (torch.rand(2, 1, 16, 16, generator=generator) > 0.7).float()
    for loss in (FocalTverskyLoss(), BCEFocalTverskyLoss()):
        expected = loss(logits, truth)
        with torch.autocast("cpu", torch.bfloat16):
            same, rounded = loss(logits, truth), loss(logits.bfloat16(), truth)
        assert same.dtype == rounded.dtype == torch.float32
        torch.testing.assert_close(same, expected, rtol=1e-6, atol=0)
        torch.testing.assert_close(rounded, expected, rtol=5e-3, atol=0)
        # What is computed from rounded logits is what float32 gives for them: nothing else is rounded.
        torch.testing.assert_close(rounded, loss(logits.bfloat16().float(), truth), rtol=1e-6, atol=0)
        torch.testing.assert_close(loss(logits, truth.bool()), expected)  # masks may be of any type


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exponent": 0}, "exponent must be positive, got 0"),
        ({"exponent": -0.75}, "exponent must be positive, got -0.75"),
        ({"sigmoid": True, "softmax": True}, "softmax"),
        ({"reduction": "median"}, "median"),
    ],
)
def test_invalid_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FocalTverskyLoss(**options)
