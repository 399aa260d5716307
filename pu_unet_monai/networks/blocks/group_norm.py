"""GroupNorm whose gradients a CPU computes fast in bfloat16, too, where channels are last and groups are narrow."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.layers import utils as monai_layers

from pu_unet_monai.networks.blocks.taken_apart import is_taken_apart
from pu_unet_monai.networks.memory_format import CHANNELS_LAST

__all__ = ["GroupNorm", "get_norm_layer"]

_WIDE_GROUP = 16
"""Channels that fill a vector register: from here on PyTorch's own backward pass is the faster in bfloat16."""


def get_norm_layer(norm: str | tuple, spatial_dims: int, channels: int) -> nn.Module:
    """Return MONAI's norm of that name, or, for a GroupNorm, the one of this module.

    Args:
        norm: name, or name and options, as MONAI's factories take them.
        spatial_dims: number of spatial dimensions, 1, 2 or 3.
        channels: number of channels.
    """
    layer = monai_layers.get_norm_layer(norm, spatial_dims, channels)
    if type(layer) is not nn.GroupNorm:
        return layer
    return GroupNorm(layer.num_groups, layer.num_channels, layer.eps, layer.affine)


class GroupNorm(nn.GroupNorm):
    """PyTorch's GroupNorm, with another backward pass for bfloat16 on a CPU where channels are last.

    PyTorch's own computes a group of fewer than 16 channels one number at a time: with two channels to a group that
    was half of a training step's backward pass. Here it is PyTorch's float32 code, on one item of the batch after the
    other (times: ``python -m benchmarks.group_norm``). Arguments, values, state dict and what is kept for the backward
    pass are PyTorch's, and in every other case so is the code.

    Shape:
        Input (B, num_channels, *spatial). Output the same.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalised ``x``."""
        if torch.jit.is_scripting():
            return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
        return self._fastest(x)

    @torch.jit.unused
    def _fastest(self, x: torch.Tensor) -> torch.Tensor:
        if not is_taken_apart() and self._is_slow_in_pytorch(x):
            return _GroupNormFunction.apply(x, self.weight, self.bias, self.num_groups, self.eps)
        return super().forward(x)

    def _is_slow_in_pytorch(self, x: torch.Tensor) -> bool:
        learns = torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in self.parameters()))
        return (
            learns
            and self.affine
            and x.device.type == "cpu"
            and x.dtype == torch.bfloat16
            and x.dim() in CHANNELS_LAST
            and self.num_channels < _WIDE_GROUP * self.num_groups
            and not x.is_contiguous()
            and x.is_contiguous(memory_format=CHANNELS_LAST[x.dim()])
        )


class _GroupNormFunction(torch.autograd.Function):
    """Forward as PyTorch's in bfloat16; backward as PyTorch's in float32."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, groups: int, eps: float
    ) -> torch.Tensor:
        y, mean, rstd = torch.native_group_norm(x, weight, bias, *_sizes(x), groups, eps)
        ctx.groups, ctx.eps = groups, eps
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        return y

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, bias, mean, rstd = ctx.saved_tensors
        if torch.is_grad_enabled():  # gradients of gradients are PyTorch's
            y = F.group_norm(x, ctx.groups, weight, bias, ctx.eps)
            wanted = [i for i in range(3) if ctx.needs_input_grad[i]]
            found = torch.autograd.grad(y, [(x, weight, bias)[i] for i in wanted], grad, create_graph=True)
            gradients: list[torch.Tensor | None] = [None] * 5
            for i, gradient in zip(wanted, found, strict=True):
                gradients[i] = gradient
            return tuple(gradients)
        grad = grad.contiguous(memory_format=CHANNELS_LAST[x.dim()])
        grad_x = torch.empty_like(x)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        grad_bias = torch.zeros_like(grad_weight)
        for item in range(len(x)):
            one = slice(item, item + 1)
            grad_x[one], of_weight, of_bias = torch.ops.aten.native_group_norm_backward(
                *(tensor.float() for tensor in (grad[one], x[one], mean[one], rstd[one], weight)),
                *_sizes(x[one]),
                ctx.groups,
                [True, True, True],
            )
            grad_weight += of_weight
            grad_bias += of_bias
        return grad_x, grad_weight.to(weight.dtype), grad_bias.to(bias.dtype), None, None


def _sizes(x: torch.Tensor) -> tuple[int, int, int]:
    """Return the number of items, of channels, and of places in space."""
    return x.shape[0], x.shape[1], x[0, 0].numel()
