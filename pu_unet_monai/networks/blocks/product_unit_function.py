"""A product unit that keeps for the backward pass what a convolution keeps: its input, and not what it makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from pu_unet_monai.networks.blocks.product_unit import ProductUnit

__all__ = ["LARGEST_LOG_CLIP", "SMALLEST_LOG_CLIP", "ProductUnitFunction", "evaluate", "unclipped_bounds"]

SMALLEST_LOG_CLIP = math.nextafter(4.0, 5.0)
"""Above 4 a clipped output can be told from its neighbours, in whatever precision ``log_clip`` is a number of."""

LARGEST_LOG_CLIP = 88.0
"""exp(88) is still a number in float32."""

_PIECE = 2**18
"""Elements that are computed in float32 at a time where the tensors themselves are in low precision."""


def evaluate(unit: ProductUnit, x: torch.Tensor) -> torch.Tensor:
    """Evaluate a product unit without a graph, each step in the memory of the one before.

    Args:
        unit: the product unit.
        x: (B, in_channels, *spatial).

    Returns:
        y in the precision of the convolution, or in that which autocast gives an exponential: on CUDA float32, which
        a GroupNorm behind it would otherwise make a copy in.
    """
    return _exponential(unit, unit.conv(_logarithm(unit, x, unit.theta)), x.dtype)


def _logarithm(unit: ProductUnit, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Return log(x+) in the precision of x, computed in float32 at least."""
    if x.dtype in (torch.float32, torch.float64):
        return unit.positive(x, theta).log_()
    log = torch.empty_like(x)
    for log_piece, x_piece in _pieces(log, x):
        log_piece.copy_(unit.positive(x_piece, theta).log_())
    return log


def _exponential(unit: ProductUnit, s: torch.Tensor, input_dtype: torch.dtype) -> torch.Tensor:
    if unit.log_clip is not None:
        s.clamp_(-unit.log_clip, unit.log_clip)
    return s.exp_() if s.dtype == input_dtype else torch.exp(s)  # autocast does not look at what works in place


class ProductUnitFunction(torch.autograd.Function):
    """Forward as :func:`evaluate`; backward computes the logarithm of the positive input once more.

    Kept are the input, in the precision of the convolution where that is enough, and the output, which the layer
    behind keeps too. Whether ``s`` was clipped is read off the output, so ``log_clip`` must be None or at least
    :data:`SMALLEST_LOG_CLIP`. Gradients of gradients, and of several outputs at once (``is_grads_batched``), are not
    offered, nor is forward-mode differentiation; ``torch.func`` has them all.
    """

    @staticmethod
    def forward(
        ctx: Any,
        unit: ProductUnit,
        x: torch.Tensor,
        theta: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return y (B, out_channels, *spatial); ``theta``, ``weight`` and ``bias`` are the unit's own."""
        s = unit.conv(_logarithm(unit, x, unit.theta))
        y = _exponential(unit, s, x.dtype)
        ctx.unit = unit
        ctx.precision = s.dtype
        ctx.save_for_backward(_kept(unit, x, s.dtype), y, theta, weight)
        return y

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of x, theta, weight and bias, with two tensors of the input's size at a time.

        Raises:
            NotImplementedError: if a graph of the gradients is asked for.
        """
        if torch.is_grad_enabled():
            raise NotImplementedError(
                "a product unit's gradients have no graph (create_graph=True); torch.func.grad gives derivatives of "
                "any order."
            )
        unit: ProductUnit = ctx.unit
        x, y, theta, weight = ctx.saved_tensors
        ctx.maybe_clear_saved_tensors()
        _, x_learns, theta_learns, *conv_learns = ctx.needs_input_grad
        grad_s = grad * y
        if unit.log_clip is not None:
            bounds = unclipped_bounds(unit.log_clip, y.dtype)
            torch.ops.aten.hardtanh_backward(grad_s, y, *bounds, grad_input=grad_s)
        del y
        grad_s = grad_s.to(ctx.precision)
        grad_x = grad_theta = grad_weight = grad_bias = None
        if any(conv_learns):
            log = _logarithm(unit, x, theta).to(ctx.precision)
            _, grad_weight, grad_bias = _convolution_backward(unit, grad_s, log, weight, (False, *conv_learns))
            del log
        if x_learns or theta_learns:
            grad_x, *_ = _convolution_backward(unit, grad_s, x.to(ctx.precision), weight, (True, False, False))
            del grad_s
            grad_theta = _logarithm_backward(unit, grad_x, x, theta)
        return None, grad_x, grad_theta, grad_weight, grad_bias


def _kept(unit: ProductUnit, x: torch.Tensor, precision: torch.dtype) -> torch.Tensor:
    """Return the input as it is kept: in the precision of the convolution, where the gradient is the same then."""
    if x.dtype == precision or unit.positivity == "lower_bound":  # rounded, it might lie on the bound's other side
        return x
    if precision == torch.float16:
        x = x.clamp(-torch.finfo(precision).max, torch.finfo(precision).max)
    return x.to(precision)


def unclipped_bounds(log_clip: float, dtype: torch.dtype) -> tuple[float, float]:
    """Return the bounds between which an output was not clipped.

    A clipped output is exp(log_clip) rounded, the nearest that was not is four roundings off; half way lies the bound.
    """
    half_way = 2 * torch.finfo(dtype).eps
    return math.exp(-log_clip) * (1 + half_way), math.exp(log_clip) * (1 - half_way)


def _convolution_backward(
    unit: ProductUnit, grad: torch.Tensor, image: torch.Tensor, weight: torch.Tensor, wanted: tuple[bool, ...]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of a convolution's input, weight and bias, as far as they are wanted."""
    conv = unit.conv
    like_forward = (conv.stride, conv.padding, conv.dilation, False, [0] * len(conv.stride), conv.groups)
    return torch.ops.aten.convolution_backward(
        grad, image, weight.to(image.dtype), [len(weight)], *like_forward, wanted
    )


def _logarithm_backward(unit: ProductUnit, grad: torch.Tensor, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Turn the gradient of log(x+) into that of x, in its own memory, and return that of theta."""
    grad_floor = torch.zeros((), dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
    for grad_piece, x_piece in _pieces(grad, x):
        wide_x = x_piece.to(grad_floor.dtype)
        grad_positive = grad_piece.to(grad_floor.dtype).div_(unit.positive(wide_x, theta))
        if unit.positivity == "softplus":
            grad_floor += grad_positive.sum()
            torch.ops.aten.softplus_backward(grad_positive, wide_x, 1, 20, grad_input=grad_positive)
        else:
            under = wide_x <= unit.floor(theta, grad_floor.dtype)
            grad_floor += torch.where(under, grad_positive, 0).sum()
            grad_positive.masked_fill_(under, 0)
        grad_piece.copy_(grad_positive)
    return grad_floor * torch.sigmoid(theta.to(grad_floor.dtype))


def _pieces(*tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Cut tensors of one shape into views of corresponding pieces, where float32 copies of them would weigh.

    On a GPU each piece would cost the start of several kernels, and float32 needs no copies.

    Args:
        tensors: the first has to be dense, in any order of its axes; the pieces of others may be copies.
    """
    first = tensors[0]
    if first.device.type != "cpu" or first.dtype in (torch.float32, torch.float64):
        yield tensors
        return
    order = sorted(range(first.dim()), key=first.stride, reverse=True)
    flat = [first.permute(order).view(-1), *(tensor.permute(order).reshape(-1) for tensor in tensors[1:])]
    yield from zip(*(tensor.split(_PIECE) for tensor in flat), strict=True)
