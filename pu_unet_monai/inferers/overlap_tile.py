"""Tiles that share context and not output: for valid convolutions, and for minicubes with context."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type, ensure_tuple
from torch.nn.functional import pad
from tqdm import tqdm

from pu_unet_monai.errors import UserError

__all__ = ["OverlapTileInferer"]

PADDING_MODES = ("reflect", "constant")


class OverlapTileInferer(Inferer):
    """Run a network on windows whose inner parts, the cores, lie side by side and make up the output.

    A core is the window less ``margin`` on each side. The cores form a regular grid from the image's first voxel
    on, and nothing is blended: each voxel of the output comes from one window. What windows lack outside the image
    is padded. This is the overlap-tile strategy of Ronneberger et al., "U-Net" (2015), figure 2, with mirrored
    edges; and minicubes with context of the brain report with ``padding_mode="constant"``.

    The result equals that of the network on the whole padded image, without seams, wherever an output depends on
    nothing beyond the margin and the network does the same at every place: convolutions, yes; GroupNorm and
    InstanceNorm, which see the whole window, no. Pooling does the same only at multiples of its total stride, so
    choose cores that are multiples of it. (MONAI's ``SlidingWindowInferer`` returns a shrunken image where the
    network returns less than its window.)

    Args:
        roi_size: window that the network sees, a number or one per axis.
        margin: what its output lacks on each side, or has there as context only, or both; a number or one per axis.
        padding_mode: ``"reflect"`` mirrors the image at its edges, again and again if it is small;
            ``"constant"`` pads with zeros. Defaults to ``"reflect"``.
        sw_batch_size: number of windows per call of the network. Defaults to 1.
        progress: whether to show a progress bar. Defaults to False.

    Raises:
        UserError: if the margins leave nothing of the window, or an option is not one of those listed.
    """

    def __init__(
        self,
        roi_size: Sequence[int] | int,
        margin: Sequence[int] | int,
        padding_mode: str = "reflect",
        sw_batch_size: int = 1,
        progress: bool = False,
    ) -> None:
        super().__init__()
        if padding_mode not in PADDING_MODES:
            raise UserError(f"padding_mode must be one of {', '.join(PADDING_MODES)}, got {padding_mode!r}.")
        if sw_batch_size < 1:
            raise UserError(f"sw_batch_size must be at least 1, got {sw_batch_size}.")
        self.roi_size = roi_size
        self.margin = margin
        self.padding_mode = padding_mode
        self.sw_batch_size = sw_batch_size
        self.progress = progress
        self._window_and_margin(max(len(ensure_tuple(roi_size)), len(ensure_tuple(margin))))

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Return the network's output for images of any size.

        Args:
            inputs: images (B, C, *spatial).
            network: takes windows (N, C, *roi_size) and returns (N, K, *roi_size), or that less the margins, or
                less a part of them that is the same on both sides.
            args: further arguments of the network.
            kwargs: further arguments of the network.

        Returns:
            (B, K, *spatial), in the type of the network's output.

        Raises:
            UserError: if the number of axes does not fit, or the network returns another size.
        """
        images = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        size = tuple(images.shape[2:])
        window, margin = self._window_and_margin(len(size))
        core = tuple(w - 2 * m for w, m in zip(window, margin, strict=True))
        grid = itertools.product(*(range(0, s, c) for s, c in zip(size, core, strict=True)))
        tiles = list(itertools.product(range(len(images)), grid))
        cut = _cut_mirrored if self.padding_mode == "reflect" else _cut_with_zeros
        output: torch.Tensor | None = None
        for first in tqdm(range(0, len(tiles), self.sw_batch_size), disable=not self.progress):
            batch = tiles[first : first + self.sw_batch_size]
            windows = [
                cut(images[item : item + 1], [s - m for s, m in zip(start, margin, strict=True)], window)
                for item, start in batch
            ]
            cores = _cores(network(torch.cat(windows), *args, **kwargs), window, margin)
            if output is None:
                output = cores.new_empty((len(images), cores.shape[1], *size))
            for (item, start), part in zip(batch, cores, strict=True):
                _put(output[item], start, part)
        if output is None:
            raise UserError(f"there is nothing to infer in an input of shape {list(inputs.shape)}.")
        return convert_to_dst_type(output, inputs, dtype=output.dtype, device=output.device)[0]

    def _window_and_margin(self, axes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return both per axis."""
        window, margin = ensure_tuple(self.roi_size), ensure_tuple(self.margin)
        if any(len(given) not in (1, axes) for given in (window, margin)):
            raise UserError(
                f"roi_size {self.roi_size} and margin {self.margin} must each be one number, or one for each of "
                f"{axes} axes."
            )
        window = window * axes if len(window) == 1 else window
        margin = margin * axes if len(margin) == 1 else margin
        if min(margin) < 0 or any(w <= 2 * m for w, m in zip(window, margin, strict=True)):
            raise UserError(
                f"margin {self.margin} must be 0 or more, and on both sides leave something of roi_size "
                f"{self.roi_size}: choose a smaller margin or a larger roi_size."
            )
        return window, margin


def _spatial(sides: Iterable[slice]) -> tuple[slice, ...]:
    """Index the spatial axes of (B, C, *spatial)."""
    return slice(None), slice(None), *sides


def _cut_with_zeros(image: torch.Tensor, start: Sequence[int], window: Sequence[int]) -> torch.Tensor:
    """Cut a window out of an image (1, C, *spatial); what lies outside is 0."""
    spans = [(first, first + length) for first, length in zip(start, window, strict=True)]
    inside = image[_spatial(slice(max(first, 0), end) for first, end in spans)]
    outside = [(max(-first, 0), max(end - s, 0)) for (first, end), s in zip(spans, image.shape[2:], strict=True)]
    return pad(inside, list(itertools.chain(*reversed(outside))))  # F.pad counts from the last axis


def _cut_mirrored(image: torch.Tensor, start: Sequence[int], window: Sequence[int]) -> torch.Tensor:
    """Cut a window out of an image (1, C, *spatial); what lies outside is mirrored at the edge voxels."""
    axes = zip(start, window, image.shape[2:], strict=True)
    sources = [[_mirrored(place, size) for place in range(first, first + length)] for first, length, size in axes]
    inside = [range(min(source), max(source) + 1) for source in sources]
    image = image[_spatial(slice(there.start, there.stop) for there in inside)]
    for axis, (source, there) in enumerate(zip(sources, inside, strict=True), start=2):
        if source != list(there):
            image = image.index_select(axis, torch.tensor(source, device=image.device) - there.start)
    return image


def _mirrored(place: int, size: int) -> int:
    """Return where in ``range(size)`` a place is after reflection at both ends, as in NumPy's mode "reflect"."""
    period = max(2 * (size - 1), 1)
    place %= period
    return min(place, period - place) if size > 1 else 0


def _cores(output: torch.Tensor, window: Sequence[int], margin: Sequence[int]) -> torch.Tensor:
    """Return the cores in what the network made of windows: the whole windows, the cores alone, or in between."""
    core = [w - 2 * m for w, m in zip(window, margin, strict=True)]
    surplus = [length - c for length, c in zip(output.shape[2:], core, strict=True)]
    if any(s % 2 or not 0 <= s <= 2 * m for s, m in zip(surplus, margin, strict=True)):
        raise UserError(
            f"the network made {list(output.shape[2:])} of a window of roi_size {list(window)}, but with margin "
            f"{list(margin)} that must be {core}, or up to the whole window and as much more on both sides: set margin "
            "to what it lacks on each side, or more."
        )
    return output[_spatial(slice(s // 2, s // 2 + c) for s, c in zip(surplus, core, strict=True))]


def _put(output: torch.Tensor, start: Sequence[int], core: torch.Tensor) -> None:
    """Write a core to its place; what reaches over the far edge is dropped."""
    place = (slice(None), *(slice(s, s + c) for s, c in zip(start, core.shape[1:], strict=True)))
    target = output[place]
    target.copy_(core[(slice(None), *(slice(s) for s in target.shape[1:]))])
