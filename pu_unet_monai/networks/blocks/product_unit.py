"""The stable product unit: a convolution in log space, that is a product of powers of its inputs."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.layers.convutils import same_padding
from monai.networks.layers.factories import Conv

from pu_unet_monai.errors import UserError
from pu_unet_monai.networks.blocks.product_unit_function import (
    LARGEST_LOG_CLIP,
    SMALLEST_LOG_CLIP,
    ProductUnitFunction,
    evaluate,
)
from pu_unet_monai.networks.blocks.taken_apart import is_taken_apart

__all__ = ["ProductUnit"]

POSITIVITY = ("softplus", "lower_bound")


class ProductUnit(nn.Module):
    r"""Stable product unit of Li et al., "PU-UNet" (2026), section 3.1, equations 5 to 8.

    .. math::
        x^+ &= \mathrm{softplus}(x) + \mathrm{softplus}(\theta) + \epsilon \\
        s &= w * \log x^+ + b \\
        y &= \exp(\mathrm{clip}(s, -c, c)), \qquad \text{so that } y_j = e^{b_j} \prod_i (x^+_i)^{w_{ij}}

    The published text gives the operator in words, its formulas are lost in our copy: the exact form of the
    positivity map, ``eps`` and the clipping threshold of 10 are our reading of it. ``exp(10)`` is 22026, under
    float16's largest number, 65504. Zero padding in log space multiplies by one.

    The logarithm, the softplus and the exponential are computed in float32 whatever the precision around them;
    the output has the precision of the convolution. The gradient is zero wherever ``|s| >= log_clip``: PyTorch's
    ``clamp`` would pass it at the bound itself, which bfloat16 often hits exactly.

    Args:
        spatial_dims: number of spatial dimensions, 1, 2 or 3.
        in_channels: number of input channels.
        out_channels: number of output channels.
        kernel_size: size of the kernel. Defaults to 3.
        stride: stride of the kernel. Defaults to 1.
        padding: zero padding on each side, in log space. None keeps the size at stride 1. Defaults to None.
        dilation: spacing of the kernel's elements. Defaults to 1.
        groups: number of channel groups. Defaults to 1.
        bias: whether to learn a factor ``exp(b)`` per output channel, initially 1. Defaults to True.
        positivity: ``"softplus"``, or ``"lower_bound"`` for the ablation ``x+ = max(x, softplus(theta) + eps)``
            (equation 4). Defaults to ``"softplus"``.
        log_clip: clipping threshold in log space; None switches clipping off (ablation). Defaults to 10.
        eps: smallest value of the positivity map. Defaults to 1e-6.

    Shape:
        Input (B, in_channels, *spatial), any real numbers. Output (B, out_channels, *spatial), positive.

    Raises:
        UserError: if ``positivity`` is not one of the two, or ``log_clip`` or ``eps`` is not positive.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int] | int = 3,
        stride: Sequence[int] | int = 1,
        padding: Sequence[int] | int | None = None,
        dilation: Sequence[int] | int = 1,
        groups: int = 1,
        bias: bool = True,
        positivity: str = "softplus",
        log_clip: float | None = 10.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if positivity not in POSITIVITY:
            raise UserError(f"positivity must be one of {', '.join(POSITIVITY)}, got {positivity!r}.")
        if log_clip is not None and log_clip <= 0:
            raise UserError(f"log_clip must be positive, or None for no clipping, got {log_clip}.")
        if eps <= 0:
            raise UserError(f"eps must be positive, got {eps}.")
        self.positivity = positivity
        self.log_clip = log_clip
        self.eps = eps
        self.theta = nn.Parameter(torch.zeros(()))
        self.conv = Conv[Conv.CONV, spatial_dims](
            in_channels,
            out_channels,
            kernel_size=kernel_size,
            stride=stride,
            padding=same_padding(kernel_size, dilation) if padding is None else padding,
            dilation=dilation,
            groups=groups,
            bias=bias,
        )
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def positive(self, x: torch.Tensor, theta: torch.Tensor | None = None) -> torch.Tensor:
        """Map any real input to positive numbers, in float32; float64 stays float64.

        Args:
            x: any real numbers.
            theta: the learnable scalar. Defaults to None, the unit's own.
        """
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        floor = self.floor(self.theta if theta is None else theta, x.dtype)
        if self.positivity == "softplus":
            return F.softplus(x).add_(floor)
        return torch.where(x <= floor, floor, x)

    def floor(self, theta: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return the learnable part of the positivity map, softplus(theta) + eps."""
        return F.softplus(theta.to(dtype)) + self.eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the products of powers of the positive ``x``."""
        if torch.jit.is_scripting():
            return self._plain(x)
        return self._fused(x)

    @torch.jit.unused
    def _fused(self, x: torch.Tensor) -> torch.Tensor:
        """Take the path that is fastest here: no graph, a backward pass of its own, or operations that others fuse."""
        if is_taken_apart():
            return self._plain(x)
        if self.log_clip is not None and not SMALLEST_LOG_CLIP <= self.log_clip <= LARGEST_LOG_CLIP:
            return self._plain(x)
        if isinstance(self.conv.padding, str) or _has_hooks(self.conv):
            return self._plain(x)
        if torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in self.parameters())):
            return ProductUnitFunction.apply(self, x, self.theta, self.conv.weight, self.conv.bias)
        return evaluate(self, x)

    def _plain(self, x: torch.Tensor) -> torch.Tensor:
        """Compute what :func:`evaluate` does in plain operations, which exporters and compilers can take apart."""
        s = self.conv(torch.log(self.positive(x)).to(x.dtype))
        return torch.exp(self.clip(s))

    def clip(self, s: torch.Tensor) -> torch.Tensor:
        """Clip in log space; at and beyond the bound the gradient is zero."""
        log_clip = self.log_clip
        if log_clip is None:
            return s
        return torch.where(s.abs() < log_clip, s, s.clamp(-log_clip, log_clip).detach())

    def extra_repr(self) -> str:
        """Show the options that the convolution does not."""
        return f"positivity={self.positivity}, log_clip={self.log_clip}, eps={self.eps}"


def _has_hooks(module: nn.Module) -> bool:
    """Tell whether somebody looks at, or replaces, what goes through a module: that has to be seen by autograd."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def _product_unit_type(spatial_dims: int) -> functools.partial[ProductUnit]:
    return functools.partial(ProductUnit, spatial_dims)


# Conv["PRODUCTUNIT", spatial_dims](in_channels, out_channels, ...), beside MONAI's "CONV" and "CONVTRANS".
Conv.add_factory_callable("PRODUCTUNIT", _product_unit_type, "Stable product unit.")
