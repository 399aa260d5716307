"""MONAI's networks behind one contract: checked inputs, any size by padding, logits out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from pu_unet_monai.errors import UserError
from pu_unet_monai.networks.blocks.network_input import check_input, crop_to, pad_to_multiple

__all__ = ["DeepDynUNet", "FixedSizeNetwork", "MonaiNetwork", "UNetPlusPlusNetwork", "freeze"]


class _FittedNetwork(nn.Module):
    """A network of MONAI that takes sizes of a multiple only, with its input checked, and padded on request.

    The network itself, with its weights as MONAI names them, is the attribute ``network``.

    Args:
        network: the network.
        spatial_dims: number of spatial dimensions it takes.
        in_channels: number of channels it takes.
        size_multiple: what each spatial length has to be a multiple of.
        pad: whether other sizes are padded by replication, and the output cropped back. Defaults to False.
        needs_two_voxels: whether the lowest resolution must have two voxels at least, as instance norm wants them.
            Defaults to False.

    Raises:
        UserError: in ``forward``, if the input does not have the channels or dimensions that the network takes, or,
            without ``pad``, a size that does not fit.
    """

    def __init__(
        self,
        network: nn.Module,
        spatial_dims: int,
        in_channels: int,
        size_multiple: int,
        pad: bool = False,
        needs_two_voxels: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.size_multiple = size_multiple
        self.pad = pad
        self.needs_two_voxels = needs_two_voxels

    def fit(self, x: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
        """Check ``x`` and pad it; returns it and its spatial size as it was."""
        check_input(x, self.in_channels, self.spatial_dims)
        if not self.pad:
            self._check_size(x)
            return x, list(x.shape[2:])
        x, size = pad_to_multiple(x, self.size_multiple)
        if self.needs_two_voxels:
            voxels = 1
            for length in x.shape[2:]:
                voxels *= length // self.size_multiple
            # 1 // voxels instead of a branch, which torch.export would settle for all sizes alike
            pad = [0, self.size_multiple * (1 // voxels)] + [0, 0] * (self.spatial_dims - 1)
            x = F.pad(x, pad, mode="replicate")
        return x, size

    def _check_size(self, x: torch.Tensor) -> None:
        m = self.size_multiple
        size = list(x.shape[2:])
        for length in size:
            if length % m != 0:
                raise UserError(
                    f"this network takes sizes that are multiples of {m} only, got {size}: create it with "
                    "pad_to_multiple=True, or resize, pad or crop the images."
                )
        if self.needs_two_voxels and max(size) == m:
            raise UserError(
                f"the size {size} leaves one voxel at the lowest resolution, too few for instance norm: create the "
                f"network with pad_to_multiple=True, or give at least {2 * m} on one axis."
            )


class MonaiNetwork(_FittedNetwork):
    """A network of MONAI that returns one tensor.

    Shape:
        Input (B, in_channels, *spatial). Output (B, out_channels, *spatial), logits.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of ``x``."""
        x, size = self.fit(x)
        return crop_to(self.network(x), size)


class FixedSizeNetwork(nn.Module):
    """A network of MONAI that takes a single spatial size, with its input checked, and padded on request.

    Args:
        network: a network that returns logits of its input's size, kept as the attribute ``network``.
        in_channels: number of channels it takes.
        size: the spatial size it takes.
        pad: whether smaller images are padded by replication, and the output cropped back. Defaults to False.

    Shape:
        Input (B, in_channels, *size), or smaller with ``pad``. Output (B, out_channels, *spatial), logits.

    Raises:
        UserError: in ``forward``, if the input has other channels, dimensions or another size.
    """

    def __init__(self, network: nn.Module, in_channels: int, size: Iterable[int], pad: bool = False) -> None:
        super().__init__()
        self.network = network
        self.in_channels = in_channels
        self.size = list(size)
        self.pad = pad

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of ``x``."""
        check_input(x, self.in_channels, len(self.size))
        found = list(x.shape[2:])
        missing: list[int] = []
        for most, length in zip(self.size[::-1], found[::-1]):  # noqa: B905 - F.pad counts from the last dimension
            missing += [0, most - length]
        if min(missing) < 0 or (max(missing) > 0 and not self.pad):
            raise UserError(
                f"this network takes images of size {self.size} only (its img_size), got {found}: predict larger "
                "images by sliding windows of that size; smaller ones fit with pad_to_multiple=True."
            )
        return crop_to(self.network(F.pad(x, missing, mode="replicate")), found)


class UNetPlusPlusNetwork(_FittedNetwork):
    """MONAI's UNet++, which returns a list with the finest output last, also when there is but one.

    Shape:
        Output (B, out_channels, *spatial), logits; with deep supervision in training mode a list of such, the main
        output, which has passed most nodes, first. All have the size of the input.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return the logits of ``x``, or a list of them."""
        x, size = self.fit(x)
        outputs = self.network(x)
        if self.training and self.network.deep_supervision:
            return [crop_to(y, size) for y in outputs[::-1]]
        return crop_to(outputs[-1], size)


class DeepDynUNet(_FittedNetwork):
    """MONAI's DynUNet with heads for deep supervision.

    MONAI's own ``forward`` leaves the heads' outputs in a list on the network, so that after a training step it cannot
    be copied, and after an export no longer be trained; this one goes through the same layers.

    Shape:
        Output (B, out_channels, *spatial), logits; in training mode a list of such, the main output first, then those
        of coarser resolutions, resized to the input's size by nearest neighbour as MONAI does.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return the logits of ``x``, or a list of them."""
        x, size = self.fit(x)
        network: Any = self.network
        x = network.input_block(x)
        skips = [x]
        for downsample in network.downsamples:
            x = downsample(x)
            skips.append(x)
        x = network.bottleneck(x)
        features = []
        for upsample in network.upsamples:
            x = upsample(x, skips.pop())
            features.append(x)
        main = network.output_block(x)
        if not self.training:
            return crop_to(main, size)
        coarser = zip(network.deep_supervision_heads, features[-2::-1], strict=False)  # the coarsest have no head
        outputs = [main] + [F.interpolate(head(feature), main.shape[2:]) for head, feature in coarser]
        return [crop_to(y, size) for y in outputs]


def freeze(*modules: nn.Module) -> None:
    """Mark parameters that a network holds and never uses, which training on several devices would wait for."""
    for module in modules:
        module.requires_grad_(False)
