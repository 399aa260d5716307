"""What networks that halve an image several times do with an input of any size."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from pu_unet_monai.errors import UserError

__all__ = ["check_input", "crop_to", "mirror", "pad_to_multiple"]


def check_input(x: torch.Tensor, in_channels: int, spatial_dims: int) -> None:
    """Refuse an input that is not (B, in_channels, *spatial).

    Raises:
        UserError: naming the shape.
    """
    if x.dim() != spatial_dims + 2 or x.shape[1] != in_channels:
        raise UserError(
            f"expected an input of shape (batch, {in_channels} channels, {spatial_dims} spatial dimensions), got "
            f"{list(x.shape)}: check the image's channels against the network's in_channels."
        )


def pad_to_multiple(x: torch.Tensor, m: int) -> tuple[torch.Tensor, list[int]]:
    """Replicate the far edges up to the next multiple of ``m``, as reflection fails on small inputs.

    Returns:
        The padded tensor, and the spatial size of ``x`` for :func:`crop_to`.
    """
    size = list(x.shape[2:])
    pad: list[int] = []
    for s in size[::-1]:  # F.pad counts from the last dimension
        pad += [0, m * ((s + m - 1) // m) - s]
    return F.pad(x, pad, mode="replicate"), size


def crop_to(x: torch.Tensor, size: list[int]) -> torch.Tensor:
    """Undo :func:`pad_to_multiple`."""
    for i, s in enumerate(size):
        x = x.narrow(2 + i, 0, s)
    return x


def mirror(x: torch.Tensor, axis: int, before: int, after: int) -> torch.Tensor:
    """Mirror an axis at its edge voxels, again and again where it is shorter than what is asked for.

    As NumPy's mode "reflect", and as ``OverlapTileInferer`` does it; PyTorch's reflects once only.
    """
    size = x.shape[axis]
    period = max(2 * (size - 1), 1)
    place = torch.arange(-before, size + after, device=x.device) % period
    return x.index_select(axis, torch.minimum(place, (period - place) % period))
