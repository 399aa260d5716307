from __future__ import annotations

import importlib
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.layers import Conv
from torch import nn
from torch.utils.checkpoint import checkpoint

from pu_unet_monai.networks.blocks import ProductUnit, product_unit, product_unit_function
from pu_unet_monai.networks.nets import PUUNet
from pu_unet_monai.runtime.dry_run import dry_run

LOW = [torch.bfloat16, torch.float16]
SOFTPLUS_0 = math.log(2.0)  # softplus(theta) at the start


def by_definition(unit: ProductUnit, x: torch.Tensor) -> np.ndarray:
    """exp(b) times the product over the neighbourhood of x+ to the power of w, one factor at a time, in float64."""
    theta, values = unit.theta.item(), x.double().numpy()
    floor = math.log1p(math.exp(theta)) + unit.eps
    positive = {"softplus": np.log1p(np.exp(values)) + floor, "lower_bound": np.maximum(values, floor)}[unit.positivity]
    conv = unit.conv
    weight = conv.weight.detach().double().numpy()
    bias = np.zeros(len(weight)) if conv.bias is None else conv.bias.detach().double().numpy()
    size = x.shape[2:]
    output_size = [
        (length + 2 * pad - step * (kernel - 1) - 1) // stride + 1
        for length, pad, step, kernel, stride in zip(
            size, conv.padding, conv.dilation, conv.kernel_size, conv.stride, strict=True
        )
    ]
    in_per_group, out_per_group = weight.shape[1], weight.shape[0] // conv.groups
    y = np.empty((x.shape[0], weight.shape[0], *output_size))
    for item, out, *at in np.ndindex(*y.shape):
        product = math.exp(bias[out])
        for channel, *tap in np.ndindex(*weight.shape[1:]):
            source = [
                a * stride - pad + t * step
                for a, stride, pad, t, step in zip(at, conv.stride, conv.padding, tap, conv.dilation, strict=True)
            ]
            if all(0 <= s < length for s, length in zip(source, size, strict=True)):  # else: a factor of 1
                in_channel = out // out_per_group * in_per_group + channel
                product *= positive[(item, in_channel, *source)] ** weight[(out, channel, *tap)]
        y[(item, out, *at)] = product
    return y


def create(seed: int = 0, **options: Any) -> ProductUnit:
    generator = torch.Generator().manual_seed(seed)
    unit = ProductUnit(**options)
    with torch.no_grad():
        for parameter in unit.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return unit


def saturating(bias: float, dtype: torch.dtype = torch.float32, log_clip: float | None = 10.0) -> ProductUnit:
    """A product unit of size 1 with s = bias exactly where its first input is 1, as log(1) = 0."""
    unit = ProductUnit(1, 2, 1, kernel_size=1, positivity="lower_bound", log_clip=log_clip)
    with torch.no_grad():
        unit.conv.weight.copy_(torch.tensor([2.0, 0.0]).reshape(1, 2, 1))
        unit.conv.bias.fill_(bias)
    return unit.to(dtype)


@pytest.mark.parametrize("positivity", ["softplus", "lower_bound"])
@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"spatial_dims": 1}, (7,)),
        ({"spatial_dims": 1, "kernel_size": 5, "bias": False}, (6,)),
        ({"spatial_dims": 2}, (5, 4)),
        ({"spatial_dims": 2, "stride": 2}, (5, 6)),
        ({"spatial_dims": 2, "dilation": 2}, (6, 5)),
        ({"spatial_dims": 2, "groups": 2}, (4, 5)),
        ({"spatial_dims": 2, "kernel_size": (3, 1), "padding": 0}, (4, 3)),
        ({"spatial_dims": 2, "kernel_size": 1, "eps": 0.1}, (3, 3)),
        ({"spatial_dims": 3, "stride": (1, 2, 1)}, (3, 4, 2)),
    ],
    ids=str,
)
def test_is_a_product_of_powers(options: dict[str, Any], size: tuple[int, ...], positivity: str) -> None:
    unit = create(in_channels=2, out_channels=4, positivity=positivity, log_clip=None, **options)
    x = 2 * torch.randn(2, 2, *size, generator=torch.Generator().manual_seed(1))
    expected = torch.from_numpy(by_definition(unit, x))
    torch.testing.assert_close(unit(x).double(), expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(unit.double()(x.double()), expected, rtol=1e-10, atol=0)


def test_worked_number() -> None:
    # x+ = (2, 3), w = (2, -1), b = log 5: y = 5 * 2^2 / 3
    unit = ProductUnit(1, 2, 1, kernel_size=1, positivity="lower_bound")
    with torch.no_grad():
        unit.conv.weight.copy_(torch.tensor([2.0, -1.0]).reshape(1, 2, 1))
        unit.conv.bias.fill_(math.log(5))
    assert unit(torch.tensor([[[2.0], [3.0]]])).item() == pytest.approx(20 / 3, rel=1e-6)
    # Under the bound, x+ = softplus(0) + eps: y = 5 * 2^2 / (log 2 + 1e-6)
    assert unit(torch.tensor([[[2.0], [-3.0]]])).item() == pytest.approx(20 / (SOFTPLUS_0 + 1e-6), rel=1e-6)


def test_start() -> None:
    unit = ProductUnit(2, 3, 4)
    assert unit.theta.item() == 0
    assert unit.conv.bias is not None
    assert not unit.conv.bias.any()
    assert ProductUnit(2, 3, 4, bias=False).conv.bias is None
    assert sum(p.numel() for p in unit.parameters()) == 3 * 4 * 9 + 4 + 1
    # softplus(0) + softplus(0) + eps
    assert unit.positive(torch.zeros(1)).item() == pytest.approx(2 * SOFTPLUS_0 + 1e-6, rel=1e-6)


def test_clips_in_log_space() -> None:
    x = torch.tensor([[[1.0], [4.0]]])
    for bias, expected in [(9.0, 9.0), (10.0, 10.0), (12.0, 10.0), (-12.0, -10.0), (500.0, 10.0), (-500.0, -10.0)]:
        assert saturating(bias)(x).item() == pytest.approx(math.exp(expected), rel=1e-5)
    assert saturating(3.0, log_clip=2.5)(x).item() == pytest.approx(math.exp(2.5), rel=1e-5)


def test_without_clipping() -> None:
    x = torch.tensor([[[1.0], [4.0]]], requires_grad=True)
    assert saturating(12.0, log_clip=None)(x).item() == pytest.approx(math.exp(12), rel=1e-5)
    assert saturating(200.0, log_clip=None)(x).item() == math.inf
    unit = saturating(12.0, log_clip=None)
    unit(x).sum().backward()
    assert unit.conv.bias.grad.item() == pytest.approx(math.exp(12), rel=1e-5)


@pytest.mark.parametrize(
    ("dtype", "autocast"),
    [(torch.float32, False), *((dtype, autocast) for dtype in LOW for autocast in (False, True))],
    ids=str,
)
def test_gradient_at_the_clip(dtype: torch.dtype, autocast: bool) -> None:
    """Exactly zero at and beyond the bound, and that of the formula just inside it."""
    step = {torch.float32: 2**-19, torch.bfloat16: 2**-4, torch.float16: 2**-7}[dtype]  # between numbers under 10
    assert torch.tensor(10 - step, dtype=dtype).item() == 10 - step
    for bias in (10 - step, 10.0, 10 + 2 * step, 60.0, -10 + step, -10.0, -10 - 2 * step, -60.0):
        unit = saturating(bias, torch.float32 if autocast else dtype)
        assert unit.conv.bias.item() == bias
        x = torch.tensor([[[1.0], [4.0]]], dtype=unit.theta.dtype, requires_grad=True)
        with torch.autocast("cpu", dtype if autocast else torch.bfloat16, enabled=autocast):
            y = unit(x)
        assert y.dtype == dtype
        y.float().sum().backward()
        gradients = [p.grad for p in (*unit.parameters(), x)]
        if abs(bias) >= 10:
            assert not any(gradient.any() for gradient in gradients), f"s = {bias}"
            assert y.item() == torch.tensor(math.exp(math.copysign(10, bias))).to(dtype).item()
        else:
            # dy/db = y; dy/dw = y log x+; dy/dx = y w / x+, with x+ = (1, 4) and w = (2, 0)
            tolerance = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]
            expected = math.exp(bias)
            assert unit.conv.bias.grad.item() == pytest.approx(expected, rel=tolerance)
            assert unit.conv.weight.grad.flatten().tolist() == pytest.approx([0, expected * math.log(4)], rel=tolerance)
            assert x.grad.flatten().tolist() == pytest.approx([2 * expected, 0], rel=tolerance)


@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_autocast(dtype: torch.dtype) -> None:
    unit = create(spatial_dims=2, in_channels=4, out_channels=3)
    x = torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    expected = unit(x)
    for cast in (x, x.to(dtype)):  # after a norm in float32, and after a convolution
        with torch.autocast("cpu", dtype):
            y = unit(cast)
        assert y.dtype == dtype
        torch.testing.assert_close(y.float(), expected, rtol=0.1, atol=0)
    assert expected.dtype == torch.float32
    # Outside autocast a network in low precision gives low precision.
    assert unit.to(dtype)(x.to(dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [*((dtype, torch.float32) for dtype in (*LOW, torch.float32)), (torch.float64, torch.float64)],
    ids=str,
)
def test_positivity_map_is_computed_in_float32_at_least(dtype: torch.dtype, expected: torch.dtype) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        positive = ProductUnit(1, 1, 1, kernel_size=1).positive(torch.zeros(1, dtype=dtype))
    assert positive.dtype == expected
    # bfloat16 would give 1.390625
    assert positive.item() == pytest.approx(2 * SOFTPLUS_0 + 1e-6, rel=2e-7)


EXTREME = (0.0, -0.0, 1e4, -1e4, 1e-40, -1e-40, 1e-45, 88.0, 89.0, -104.0)


@pytest.mark.parametrize("positivity", ["softplus", "lower_bound"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    values=st.lists(st.one_of(st.floats(-1e4, 1e4, width=32), st.sampled_from(EXTREME)), min_size=6, max_size=6),
    theta=st.sampled_from([0.0, -100.0, -1e4, 20.0]),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
)
def test_finite(positivity: str, values: list[float], theta: float, scale: float) -> None:
    unit = create(spatial_dims=2, in_channels=1, out_channels=2, positivity=positivity)
    with torch.no_grad():
        unit.theta.fill_(theta)
        unit.conv.weight *= scale
    for dtype in (torch.float32, *LOW):
        x = torch.tensor(values).reshape(1, 1, 2, 3).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16 if dtype == torch.float32 else dtype, enabled=dtype in LOW):
            y = unit(x)
        assert y.dtype == dtype
        assert y.isfinite().all()
        assert (y > 0).all()
        assert y.max() <= math.exp(10) * 1.01
        unit.zero_grad()
        (y.float() / math.exp(10)).sum().backward()
        assert all(t.grad.isfinite().all() for t in (x, *unit.parameters()))


@pytest.mark.parametrize("positivity", ["softplus", "lower_bound"])
@pytest.mark.parametrize("log_clip", [10.0, 0.2, None])
def test_gradcheck(positivity: str, log_clip: float | None) -> None:
    unit = create(spatial_dims=2, in_channels=2, out_channels=2, positivity=positivity, log_clip=log_clip).double()
    x = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    parameters = dict(unit.named_parameters())

    def function(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(unit, dict(zip(parameters, values, strict=True)), (x,))

    inside = (unit(x).log().abs() < (log_clip or math.inf) - 1e-9).double().mean()
    assert 0 < inside <= 1
    assert (inside < 1) == (log_clip == 0.2)  # so both branches of the clip are checked
    assert torch.autograd.gradcheck(function, (x, *parameters.values()))


def test_script() -> None:
    for options in ({}, {"positivity": "lower_bound"}, {"log_clip": None}):
        unit = create(spatial_dims=2, in_channels=2, out_channels=2, **options)
        scripted = torch.jit.script(unit)
        for dtype in (torch.float32, torch.float64):
            unit, scripted = unit.to(dtype), scripted.to(dtype)
            x = torch.randn(1, 2, 4, 5, dtype=dtype, generator=torch.Generator().manual_seed(0))
            torch.testing.assert_close(scripted(x), unit(x))


def test_keeps_the_size_by_default() -> None:
    for kernel_size, dilation in itertools.product((1, 3, 5), (1, 2)):
        unit = ProductUnit(2, 1, 1, kernel_size=kernel_size, dilation=dilation)
        assert unit(torch.rand(1, 1, 11, 12)).shape == (1, 1, 11, 12)


@pytest.mark.parametrize("spatial_dims", [1, 2, 3])
def test_factory(spatial_dims: int) -> None:
    unit = Conv["PRODUCTUNIT", spatial_dims](2, 3, kernel_size=3, log_clip=4.0)
    assert isinstance(unit, ProductUnit)
    assert isinstance(unit.conv, (nn.Conv1d, nn.Conv2d, nn.Conv3d)[spatial_dims - 1])
    assert unit.log_clip == 4
    assert unit(torch.rand(1, 2, *[5] * spatial_dims)).shape == (1, 3, *[5] * spatial_dims)


def test_registering_twice_is_harmless() -> None:
    before = ProductUnit
    try:
        reloaded = importlib.reload(product_unit)
        unit = Conv["PRODUCTUNIT", 2](2, 3)
        assert isinstance(unit, reloaded.ProductUnit)
        assert Conv["CONV", 2] is nn.Conv2d
        assert Conv.names.count("PRODUCTUNIT") == 1
    finally:  # the class that all other modules know
        product_unit.ProductUnit = before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positivity": "relu"}, "'relu'"),
        ({"log_clip": 0.0}, "log_clip .* got 0"),
        ({"log_clip": -1.0}, "log_clip .* got -1"),
        ({"eps": 0.0}, "eps must be positive, got 0"),
    ],
)
def test_invalid_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProductUnit(2, 1, 1, **options)


def gradients(unit: ProductUnit, x: torch.Tensor, dtype: torch.dtype, plain: bool) -> dict[str, torch.Tensor]:
    """Output and gradients of a product unit under autocast to ``dtype``, by the fused or by the plain path."""
    unit.zero_grad()
    x = x.detach().requires_grad_()
    with torch.autocast("cpu", dtype if dtype in LOW else torch.bfloat16, enabled=dtype in LOW):
        y = unit._plain(x) if plain else unit(x)
    weights = torch.linspace(-1, 2, y.numel()).reshape(y.shape)
    (y * weights / y.detach().abs().float().clamp_min(1)).sum().backward()
    found = {name: parameter.grad.clone() for name, parameter in unit.named_parameters() if parameter.grad is not None}
    return {"y": y.detach(), "x": x.grad, **found}


@pytest.mark.parametrize("positivity", ["softplus", "lower_bound"])
@pytest.mark.parametrize("log_clip", [10.0, 5.0, None, 0.2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *LOW], ids=str)
def test_fused_path_is_the_plain_one(dtype: torch.dtype, log_clip: float | None, positivity: str) -> None:
    """Where a third of the outputs is clipped, where none is, in every precision, and cut into pieces."""
    wide = dtype if dtype == torch.float64 else torch.float32
    for scale in (0.3, 8.0):
        unit = create(spatial_dims=2, in_channels=4, out_channels=3, positivity=positivity, log_clip=log_clip).to(wide)
        with torch.no_grad():
            unit.conv.weight *= scale if log_clip is not None else 0.3
        x = torch.randn(2, 4, 9, 7, dtype=wide, generator=torch.Generator().manual_seed(1))
        plain = gradients(unit, x, dtype, plain=True)
        if log_clip is not None and log_clip >= 4:
            bound = torch.tensor(math.exp(log_clip), dtype=wide).to(dtype)
            clipped = (plain["y"] >= bound).float().mean().item()
            assert clipped > 0.05 if scale > 1 else clipped < 0.05, clipped
        fused = gradients(unit, x, dtype, plain=False)
        assert fused.keys() == plain.keys() == {"y", "x", "theta", "conv.weight", "conv.bias"}
        rtol = {torch.float64: 1e-10, torch.float32: 2e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}[dtype]
        for name, expected in plain.items():
            assert fused[name].dtype == expected.dtype
            largest = expected.abs().max().item()
            torch.testing.assert_close(fused[name], expected, rtol=rtol, atol=rtol * largest, msg=f"{name} {scale}")


@pytest.mark.parametrize("log_clip", [4.0625, 5.75, 7.9375, 8.0, 10.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *LOW], ids=str)
def test_clipped_outputs_are_told_from_their_neighbours(dtype: torch.dtype, log_clip: float) -> None:
    """The largest s under the bound has a gradient, the bound itself has none, at both ends."""
    step = torch.finfo(dtype).eps * 2 ** math.floor(math.log2(log_clip) - 1e-9)  # between the numbers under the bound
    s = torch.tensor([log_clip - step, log_clip, log_clip + 2 * step], dtype=torch.float64).to(dtype)
    assert s.double().tolist() == [log_clip - step, log_clip, log_clip + 2 * step]
    s = torch.cat([s, -s]).repeat(11)  # long enough for vectorised code and what it leaves over
    y = s.clamp(-log_clip, log_clip).exp()
    bounds = product_unit_function.unclipped_bounds(log_clip, dtype)
    passed = torch.ops.aten.hardtanh_backward(torch.ones_like(y), y, *bounds) != 0
    assert torch.equal(passed, s.abs() < log_clip)


def test_training_bytes_are_those_of_a_convolution() -> None:
    for dims, size in ((2, (2, 3, 256, 256)), (3, (1, 4, 96, 96, 96))):
        for dtype in (None, torch.bfloat16):
            of = {
                placement: dry_run(
                    PUUNet(dims, size[1], 1, (32, 64, 128, 256), placement=placement), size, dtype=dtype, backward=True
                ).peak_bytes
                for placement in ("none", "low_resolution", "all")
            }
            assert of["low_resolution"] <= 1.0005 * of["none"]
            assert of["all"] <= 1.0005 * of["none"]


def test_evaluation_leaves_its_input_alone() -> None:
    unit = create(spatial_dims=2, in_channels=2, out_channels=2)
    for dtype in (torch.float32, torch.bfloat16):
        unit, x = unit.to(dtype), torch.randn(1, 2, 5, 5).to(dtype)
        before, weight = x.clone(), unit.conv.weight.clone()
        with torch.no_grad():
            y = unit(x)
        assert torch.equal(x, before)
        assert torch.equal(unit.conv.weight, weight)
        assert not y.requires_grad
        torch.testing.assert_close(y, unit(x).detach(), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_layouts_and_pieces(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    unit = create(spatial_dims=2, in_channels=4, out_channels=3)
    x = torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    expected = gradients(unit, x, dtype, plain=False)
    monkeypatch.setattr(product_unit_function, "_PIECE", 7)
    for same in (
        x,
        x.to(memory_format=torch.channels_last),
        torch.stack([x, x], dim=-1)[..., 0],  # with gaps
        x.flip(0).flip(0).transpose(2, 3).contiguous().transpose(2, 3),
    ):
        for name, found in gradients(unit, same, dtype, plain=False).items():
            torch.testing.assert_close(found, expected[name], rtol=1e-2 if dtype in LOW else 1e-5, atol=1e-4)


@pytest.mark.parametrize("frozen", [("theta",), ("conv.weight",), ("conv.weight", "conv.bias"), ("x", "theta"), ("x",)])
def test_what_is_frozen_gets_no_gradient(frozen: tuple[str, ...]) -> None:
    unit = create(spatial_dims=2, in_channels=2, out_channels=2)
    x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    unit(x).sum().backward()
    tensors = {"x": x, **dict(unit.named_parameters())}
    expected = {name: tensor.grad.clone() for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        tensor.grad = None
        tensor.requires_grad_(name not in frozen)
    unit(x).sum().backward()
    for name, tensor in tensors.items():
        if name in frozen:
            assert tensor.grad is None
        else:
            assert torch.equal(tensor.grad, expected[name])


def test_parameters_from_outside() -> None:
    """With parameters that are not the unit's own, as ``torch.func`` gives them, the gradients are those of these."""
    unit = create(spatial_dims=2, in_channels=2, out_channels=2)
    x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    others = {name: (2 * p.detach()).requires_grad_() for name, p in unit.named_parameters()}
    torch.func.functional_call(unit, others, (x,)).sum().backward()
    twice = create(spatial_dims=2, in_channels=2, out_channels=2)
    with torch.no_grad():
        for parameter in twice.parameters():
            parameter *= 2
    twice(x).sum().backward()
    for name, parameter in twice.named_parameters():
        torch.testing.assert_close(others[name].grad, parameter.grad)
    own = torch.func.grad(lambda values: torch.func.functional_call(unit, values, (x,)).sum())
    for name, gradient in own({name: p.detach() for name, p in others.items()}).items():
        torch.testing.assert_close(gradient, others[name].grad, rtol=1e-4, atol=1e-4)


def test_compilers_see_plain_operations() -> None:
    unit = create(spatial_dims=2, in_channels=2, out_channels=2)
    x = torch.randn(1, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    expected = unit(x)
    compiled = torch.compile(unit, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), expected)
    expected.sum().backward()
    gradient = unit.conv.weight.grad.clone()
    unit.zero_grad()
    compiled(x).sum().backward()
    torch.testing.assert_close(unit.conv.weight.grad, gradient, rtol=1e-4, atol=1e-4)
    traced = torch.jit.trace(unit, x)
    torch.testing.assert_close(traced(x[..., :3]), unit(x[..., :3]))
    program = torch.export.export(unit, (x,))
    torch.testing.assert_close(program.module()(x), expected)


def test_recomputed_in_the_backward_pass() -> None:
    unit = create(spatial_dims=2, in_channels=2, out_channels=2)
    x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    expected = gradients(unit, x, torch.float32, plain=False)
    unit.zero_grad()
    y = checkpoint(unit, x, use_reentrant=False)
    weights = torch.linspace(-1, 2, y.numel()).reshape(y.shape)
    (y * weights / y.detach().abs().clamp_min(1)).sum().backward()
    torch.testing.assert_close(x.grad, expected["x"])


def test_twice_through_one_graph() -> None:
    unit = create(spatial_dims=2, in_channels=2, out_channels=2)
    loss = unit(torch.ones(1, 2, 4, 4)).sum()
    loss.backward(retain_graph=True)
    once = unit.conv.weight.grad.clone()
    loss.backward()
    torch.testing.assert_close(unit.conv.weight.grad, 2 * once)


def test_second_derivatives_are_refused() -> None:
    unit = create(spatial_dims=2, in_channels=2, out_channels=2)
    x = torch.ones(1, 2, 4, 4, requires_grad=True)
    with pytest.raises(NotImplementedError, match="create_graph"):
        torch.autograd.grad(unit(x).sum(), x, create_graph=True)


@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_inputs_next_to_the_lower_bound_stay_on_their_side(dtype: torch.dtype) -> None:
    """In low precision they would be rounded to the bound, or beyond it."""
    unit = create(spatial_dims=1, in_channels=2, out_channels=2, kernel_size=1, positivity="lower_bound")
    floor = unit.floor(unit.theta, torch.float32).item()
    near = floor * (1 + 1e-4 * torch.tensor([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0]))
    fused, plain = (gradients(unit, near.expand(1, 2, 6), dtype, plain=plain) for plain in (False, True))
    assert not fused["x"][..., :3].any()
    assert fused["x"][..., 3:].all()
    torch.testing.assert_close(fused["x"], plain["x"], rtol=2e-2, atol=1e-4)
    torch.testing.assert_close(fused["theta"], plain["theta"], rtol=2e-2, atol=1e-4)


@pytest.mark.parametrize("log_clip", [88.0, 100.0, 1000.0])
def test_thresholds_beyond_float32(log_clip: float) -> None:
    unit = create(spatial_dims=2, in_channels=2, out_channels=2, log_clip=log_clip)
    x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    fused, plain = (gradients(unit, x, torch.float32, plain=plain) for plain in (False, True))
    for name, expected in plain.items():
        torch.testing.assert_close(fused[name], expected, rtol=1e-4, atol=1e-4)


def test_inputs_beyond_float16() -> None:
    unit = create(spatial_dims=2, in_channels=2, out_channels=2)
    x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    x[0, 0, 0, 0] = 7e4
    assert all(gradient.isfinite().all() for gradient in gradients(unit, x, torch.float16, plain=False).values())


def test_who_looks_at_the_convolution_sees_what_it_gives() -> None:
    unit = create(spatial_dims=2, in_channels=2, out_channels=2)
    x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    expected, seen, backward = unit(x), [], []
    unit.conv.register_forward_hook(lambda *args: seen.append(args[-1]))
    unit.conv.register_full_backward_hook(lambda *args: backward.append(args[-1]))
    torch.testing.assert_close(unit(x), expected)
    torch.testing.assert_close(seen[0].clamp(-10, 10).exp(), expected)
    unit(x).sum().backward()
    assert len(backward) == 1


def test_weights_that_a_hook_makes() -> None:
    unit = create(spatial_dims=2, in_channels=2, out_channels=2)
    torch.nn.utils.weight_norm(unit.conv)
    for _ in range(2):
        unit.zero_grad()
        unit(torch.ones(1, 2, 4, 4)).sum().backward()
        assert unit.conv.weight_g.grad.any()
