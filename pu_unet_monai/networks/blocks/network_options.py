"""The options that U-Nets of several widths share, and what is refused of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pu_unet_monai.errors import UserError

__all__ = ["check_network_options", "group_count"]


def check_network_options(spatial_dims: int, channels: Sequence[int], norm: str | tuple = "") -> None:
    """Refuse dimensions and widths that a U-Net cannot have.

    Args:
        spatial_dims: number of spatial dimensions, 2 or 3.
        channels: width at each resolution, at least two.
        norm: normalisation, as MONAI's factories take it; the groups of a GroupNorm must divide every width. Defaults
            to none.

    Raises:
        UserError: naming the option and what was found.
    """
    if spatial_dims not in (2, 3):
        raise UserError(f"spatial_dims must be 2 or 3, got {spatial_dims}.")
    if not isinstance(channels, Sequence) or isinstance(channels, str):
        raise UserError(f"channels must be a list of widths such as [16, 32, 64], got {channels!r}.")
    if len(channels) < 2:
        raise UserError(f"channels must give a width for at least 2 resolutions, got {list(channels)}.")
    if min(channels) < 1:
        raise UserError(f"channels {list(channels)}: widths must be at least 1, got [{min(channels)}].")
    groups = group_count(norm)
    undivided = [width for width in channels if width % groups]
    if undivided:
        raise UserError(
            f"channels {list(channels)}: the norm's num_groups={groups} must divide every width, but does not "
            f"divide {undivided}: choose multiples of {groups}, or another norm."
        )


def group_count(norm: str | tuple) -> int:
    """Return into how many groups a normalisation divides the channels, 1 if it does not.

    Raises:
        UserError: if the options of the norm are no options, or their ``num_groups`` no number of groups.
    """
    if isinstance(norm, str) or len(norm) < 2:
        return 1
    groups = norm[1].get("num_groups", 1) if isinstance(norm[1], Mapping) else None
    if type(groups) is not int or groups < 1:
        raise UserError(
            f'norm {norm!r}: expected a name, or a name and options such as ["GROUP", {{"num_groups": 8}}].'
        )
    return groups
