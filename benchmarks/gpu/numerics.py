"""Whether the numbers are right: fast paths against plain ones, all precisions against float64 on the CPU."""

from __future__ import annotations

import copy
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import torch
from torch import nn

from benchmarks.gpu.conditions import Conditions, Row, Workload, attempt, forget_compiled, workload
from benchmarks.gpu.sides import PRECISIONS, GraphedInference, autocast, compiled, infer, tf32
from pu_unet_monai.networks.blocks import ProductUnit
from pu_unet_monai.networks.memory_format import lay_channels_last

__all__ = ["measure", "relative_difference"]

TOLERANCES = {
    "float64": 1e-9,
    "float64 from float32": 1e-3,
    "float32": 1e-4,
    "TF32": 1e-2,
    "float16": 1e-2,
    "bfloat16": 5e-2,
}
"""Largest difference, relative to the largest number of the tensor that is right.

A product of hundreds of powers raises float32's rounding, between different kernels, to some 1e-4.
"""

Tensors = Mapping[str, torch.Tensor]


def measure(conditions: Conditions) -> Iterator[Row]:
    """Check unit, network, precisions, CUDA graph and compiler, in this order."""
    yield from _units(conditions)
    yield from _clips(conditions)
    yield from _training(conditions)
    yield from _inference(conditions)


def relative_difference(found: Tensors, expected: Tensors) -> float:
    """Return the largest difference, relative to the largest number of the same tensor.

    Raises:
        ValueError: if the tensors have other names, shapes or types, or numbers that are not finite.
    """
    if found.keys() != expected.keys():
        raise ValueError(f"found {list(found)}, expected {list(expected)}")
    worst = 0.0
    for name, right in expected.items():
        if found[name].shape != right.shape:
            raise ValueError(f"{name} has shape {list(found[name].shape)}, expected {list(right.shape)}")
        right = right.detach().double().cpu()
        off = (found[name].detach().double().cpu() - right).abs().max().item()
        if not math.isfinite(off):
            raise ValueError(f"{name} is NaN or infinite")
        worst = max(worst, off / max(right.abs().max().item(), 1e-30))
    return worst


def _verdict(difference: float, at_most: float) -> dict[str, Any]:
    return {"difference": difference, "at_most": at_most, "met": difference <= at_most}


def _units(conditions: Conditions) -> Iterator[Row]:
    """The product unit's own passes against plain operations, and against those in float64 on the CPU."""
    for dims in (2, 3):
        for precision in ("float64", *PRECISIONS):
            row = {"what": f"product unit's own passes, {dims}D", "precision": precision, "against": "plain operations"}
            yield attempt(conditions, row, _worst_unit, conditions, dims, precision, False)
        row = {"what": f"product unit's own passes, {dims}D", "precision": "float32", "against": "float64 on the CPU"}
        yield attempt(conditions, row, _worst_unit, conditions, dims, "float32", True)


def _worst_unit(conditions: Conditions, dims: int, precision: str, from_float64: bool) -> dict[str, Any]:
    """Go through both positivity maps, hardly any and a fifth of the outputs clipped, and both layouts."""
    cases = itertools.product(("softplus", "lower_bound"), (0.3, 8.0), ("contiguous", "channels last"))
    found = {
        f"{positivity}, weights x {scale}, {layout}": _unit(
            conditions, dims, precision, from_float64, positivity, scale, layout
        )
        for positivity, scale, layout in cases
    }
    worst = max(found, key=found.__getitem__)
    at_most = TOLERANCES["float64 from float32" if from_float64 else precision]
    return _verdict(found[worst], at_most) | {"worst": worst}


def _unit(
    conditions: Conditions,
    dims: int,
    precision: str,
    from_float64: bool,
    positivity: str,
    scale: float,
    layout: str,
) -> float:
    generator = torch.Generator().manual_seed(0)
    width = 4 if conditions.quick else 32
    unit = ProductUnit(dims, width, width, positivity=positivity)
    with torch.no_grad():
        for parameter in unit.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
        # a sum of more factors has the spread of one of four channels in 2D
        unit.conv.weight *= scale * math.sqrt(4 * 9 / unit.conv.weight[0].numel())
    x = torch.randn(2, width, *[9 if conditions.quick else 24] * dims, generator=generator)
    # numbers that every precision has: "lower_bound" has a kink, which a rounded one may lie on the other side of
    x = x.bfloat16().float()
    expected = _unit_results(copy.deepcopy(unit).double(), x.double(), "float64", plain=True) if from_float64 else None
    unit, x = unit.to(conditions.device), x.to(conditions.device)
    if precision == "float64":
        unit, x = unit.double(), x.double()
    if layout == "channels last":
        lay_channels_last(unit)
        x = x.to(memory_format=torch.channels_last if dims == 2 else torch.channels_last_3d)
    if expected is None:
        expected = _unit_results(unit, x, precision, plain=True)
    return relative_difference(_unit_results(unit, x, precision, plain=False), expected)


def _unit_results(unit: ProductUnit, x: torch.Tensor, precision: str, plain: bool) -> dict[str, torch.Tensor]:
    """Return a unit's output and all gradients, by its own or by the plain path."""
    unit.zero_grad()
    x = x.detach().requires_grad_()
    with autocast(x.device, "float32" if precision == "float64" else precision):
        y = unit._plain(x) if plain else unit(x)
    weights = torch.linspace(-1, 2, y.numel(), device=x.device, dtype=x.dtype).reshape(y.shape)
    (y * weights / y.detach().abs().to(x.dtype).clamp_min(1)).sum().backward()
    gradients = {name: _gradient(parameter).clone() for name, parameter in unit.named_parameters()}
    return {"y": y.detach(), "x": _gradient(x), **gradients}


def _gradient(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.grad is None:
        raise ValueError("a gradient is missing")
    return tensor.grad


def _clips(conditions: Conditions) -> Iterator[Row]:
    """The gradient at and beyond the clip, exactly zero, and one number inside it, that of the formula."""
    steps = {"float32": 2**-19, "bfloat16": 2**-4, "float16": 2**-7}  # between numbers under 10
    for precision, step in steps.items():
        row = {"what": "product unit's gradient at the clip", "precision": precision, "against": "formula"}
        yield attempt(conditions, row, _clip, conditions, precision, step)


def _clip(conditions: Conditions, precision: str, step: float) -> dict[str, Any]:
    worst = 0.0
    for bias in (10 - step, 10.0, 10 + 2 * step, 60.0, -10 + step, -10.0, -10 - 2 * step, -60.0):
        unit = ProductUnit(1, 2, 1, kernel_size=1, positivity="lower_bound")
        with torch.no_grad():
            unit.conv.weight.copy_(torch.tensor([2.0, 0.0]).reshape(1, 2, 1))
            unit.conv.bias.fill_(bias)  # s itself where the first input is 1
        unit = unit.to(conditions.device)
        x = torch.tensor([[[1.0], [4.0]]], device=conditions.device, requires_grad=True)
        with autocast(conditions.device, precision):
            y = unit(x)
        y.float().sum().backward()
        found = _gradient(unit.conv.bias).item()
        others = [_gradient(tensor) for tensor in (unit.conv.weight, unit.theta, x)]
        if abs(bias) < 10:
            worst = max(worst, abs(found / math.exp(bias) - 1))
        elif found or any(gradient.any() for gradient in others):
            worst = math.inf
    if math.isinf(worst):
        raise ValueError("a clipped output has a gradient that is not 0")
    return _verdict(worst, {"float32": 1e-5, "bfloat16": 2e-2, "float16": 2e-3}[precision])


def _training(conditions: Conditions) -> Iterator[Row]:
    """A whole network's logits and gradients, with the product units' own passes and with plain operations."""
    for work in (workload(conditions, 2, 128, 2), workload(conditions, 3, 48)):
        for precision in PRECISIONS:
            what = f"PU-UNet's logits and gradients, {work}"
            row = {"what": what, "precision": precision, "against": "plain operations"}
            yield attempt(conditions, row, _train, conditions, work, precision)


def _train(conditions: Conditions, work: Workload, precision: str) -> dict[str, Any]:
    network, image = work.pu_unet(conditions.device).train(), work.image(conditions.device)
    with mock.patch.object(ProductUnit, "_fused", ProductUnit._plain):
        plain = _network_results(network, image, precision)
    fused = _network_results(network, image, precision)
    relative_difference(fused, plain)  # for what it refuses
    pairs = [(fused[name].double(), right.double()) for name, right in plain.items()]
    off = max(((mine - right).norm() / right.norm()).item() for mine, right in pairs)
    return _verdict(off, TOLERANCES[precision])


def _network_results(network: nn.Module, image: torch.Tensor, precision: str) -> dict[str, torch.Tensor]:
    network.zero_grad()
    with autocast(image.device, precision):
        logits = network(image)
    # scaled as a GradScaler would: float16 loses the gradients of a mean over so many pixels
    (2**8 * torch.nn.functional.softplus(logits.float()).mean()).backward()
    gradients = torch.cat([_gradient(parameter).flatten() for parameter in network.parameters()])
    return {"logits": logits.detach(), "gradients": gradients}


def _inference(conditions: Conditions) -> Iterator[Row]:
    """A whole network's logits on the device in every precision and by every runtime."""
    works = (workload(conditions, 2, 256), workload(conditions, 3, 64))
    for work in works:
        reference = functools.cache(functools.partial(_in_float64, work))
        for precision in ("float32", "TF32", "bfloat16", "float16"):
            row = {"what": f"PU-UNet's logits, {work}", "precision": precision, "against": "float64 on the CPU"}
            yield attempt(conditions, row, _eager, conditions, work, precision, reference)
    for work in works:
        for precision in ("float32", "bfloat16"):
            row = {"what": f"CUDA graph of PU-UNet, {work}", "precision": precision, "against": "eager"}
            yield attempt(conditions, row, _against_eager, conditions, work, precision, _start_graph)
    for precision in ("float32", "bfloat16"):
        row = {"what": f"compiled PU-UNet, {works[0]}", "precision": precision, "against": "eager"}
        yield attempt(conditions, row, _against_eager, conditions, works[0], precision, _start_compiled)


def _in_float64(work: Workload) -> torch.Tensor:
    cpu = torch.device("cpu")
    return infer(work.pu_unet(cpu).double(), work.image(cpu).double(), "float32")


def _eager(
    conditions: Conditions, work: Workload, precision: str, reference: Callable[[], torch.Tensor]
) -> dict[str, Any]:
    network, image = work.pu_unet(conditions.device), work.image(conditions.device)
    if precision == "TF32":
        with tf32(True):
            logits = infer(network, image, "float32")
    else:
        logits = infer(network, image, precision)
    at_most = TOLERANCES["float64 from float32" if precision == "float32" else precision]
    return _verdict(relative_difference({"logits": logits}, {"logits": reference()}), at_most)


def _start_graph(
    conditions: Conditions, network: nn.Module, image: torch.Tensor, precision: str
) -> Callable[[torch.Tensor], torch.Tensor]:
    return GraphedInference(network, torch.zeros_like(image), precision)


def _start_compiled(
    conditions: Conditions, network: nn.Module, image: torch.Tensor, precision: str
) -> Callable[[torch.Tensor], torch.Tensor]:
    forget_compiled()
    return functools.partial(_infer_in, compiled(conditions, network), precision)


def _infer_in(run: Callable[[torch.Tensor], torch.Tensor], precision: str, image: torch.Tensor) -> torch.Tensor:
    return infer(run, image, precision)


def _against_eager(
    conditions: Conditions, work: Workload, precision: str, start: Callable[..., Callable[[torch.Tensor], torch.Tensor]]
) -> dict[str, Any]:
    network, image = work.pu_unet(conditions.device), work.image(conditions.device)
    expected = infer(network, image, precision)
    found = start(conditions, network, image, precision)(image)
    return _verdict(relative_difference({"logits": found}, {"logits": expected}), TOLERANCES[precision])
