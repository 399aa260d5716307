from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from torch import nn

from pu_unet_monai.errors import UserError
from pu_unet_monai.inferers import OverlapTileInferer


def identity(x: torch.Tensor) -> torch.Tensor:
    return x


def image(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def padded(x: torch.Tensor, margin: Sequence[int], mode: str) -> torch.Tensor:
    """The whole image with the margin around it, by NumPy."""
    widths = [(0, 0), (0, 0), *((m, m) for m in margin)]
    return torch.from_numpy(np.pad(x.numpy(), widths, mode=mode))


class Convolutions(nn.Module):
    """Two convolutions with an activation between, so that an output depends on 2 voxels on each side."""

    def __init__(self, spatial_dims: int, padding: int) -> None:
        super().__init__()
        convolution = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = (convolution(2, 4, 3, padding=padding), nn.SiLU(), convolution(4, 3, 3, padding=padding))
        self.layers = nn.Sequential(*layers)

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    axes = draw(st.integers(2, 3))
    margin = [draw(st.integers(0, 4)) for _ in range(axes)]
    return {
        "size": [draw(st.integers(1, 23 if axes == 2 else 11)) for _ in range(axes)],
        "margin": margin,
        "roi_size": [2 * m + draw(st.integers(1, 9)) for m in margin],
        "padding_mode": draw(st.sampled_from(["reflect", "constant"])),
        "sw_batch_size": draw(st.integers(1, 5)),
        "items": draw(st.integers(1, 2)),
    }


@given(case=cases())
@settings(max_examples=60, deadline=None)
def test_identity_comes_back_bit_for_bit(case: dict[str, Any]) -> None:
    x = image(case.pop("items"), 2, *case.pop("size"))
    assert torch.equal(OverlapTileInferer(**case)(x, identity), x)


@given(case=cases())
@settings(max_examples=40, deadline=None)
def test_valid_convolutions_give_the_same_tiled_as_whole(case: dict[str, Any]) -> None:
    size, items = case.pop("size"), case.pop("items")
    case["margin"] = [2] * len(size)
    case["roi_size"] = [max(length, 5) for length in case["roi_size"]]
    x, network = image(items, 2, *size), Convolutions(len(size), padding=0)
    whole = network(padded(x, case["margin"], case["padding_mode"]))
    tiled = OverlapTileInferer(**case)(x, network)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-6)


def test_windows_are_cut_out_of_the_padded_image() -> None:
    x, windows = image(1, 1, 7, 5), []

    def network(window: torch.Tensor) -> torch.Tensor:
        windows.append(window)
        return window

    OverlapTileInferer((8, 9), (2, 3))(x, network)
    whole = torch.from_numpy(np.pad(x.numpy(), [(0, 0), (0, 0), (2, 3), (3, 4)], mode="reflect"))
    expected = [whole[:, :, i : i + 8, j : j + 9] for i in (0, 4) for j in (0, 3)]
    assert len(windows) == 4
    assert all(torch.equal(window, tile) for window, tile in zip(windows, expected, strict=True))


@pytest.mark.parametrize(
    ("margin", "roi_size"), [(0, (80, 96, 96)), (10, (100, 116, 116))], ids=["without context", "with context"]
)
def test_minicubes_of_the_brain_report(margin: int, roi_size: tuple[int, ...]) -> None:
    x, cubes = torch.ones(1, 1, 160, 192, 192), []

    def network(cube: torch.Tensor) -> torch.Tensor:
        cubes.append(cube)
        return cube

    y = OverlapTileInferer(roi_size, margin, padding_mode="constant")(x, network)
    assert len(cubes) == 8
    assert torch.equal(y, x)
    first = cubes[0][0, 0]  # with a corner of the volume: zeros before it, its neighbours behind
    assert first.shape == roi_size
    assert not first[:margin].any()
    assert first[margin:, margin:, margin:].all()


@pytest.mark.parametrize("margin", [0, 1, 2, 3])
def test_seams_show_without_enough_context(margin: int) -> None:
    """Minicubes whose convolutions pad with zeros: an output depends on 2 voxels on each side."""
    network, x = Convolutions(3, padding=1), image(1, 2, 24, 16, 16)
    whole = network(x)
    tiled = OverlapTileInferer(8 + 2 * margin, margin, padding_mode="constant")(x, network)
    error = (tiled - whole).abs()[..., 2:-2, 2:-2]  # away from the edges of the image on the other axes
    seams = error[:, :, [7, 8, 15, 16]]  # the planes on both sides of the cuts at 8 and 16
    assert (seams.max() < 1e-6) == (margin >= 2)
    error = error[:, :, 2:-2]
    assert (error.max() < 1e-6) == (margin >= 2)


class Pooling(nn.Module):
    """Maximum of blocks of 4 x 4: an output depends on 3 voxels on each side, and on where the blocks begin."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(nn.functional.max_pool2d(x, 4), scale_factor=4)


@pytest.mark.parametrize(("size", "roi_size", "margin", "exact"), [(24, 16, 4, True), (26, 12, 3, False)])
def test_pooling_is_exact_where_cores_are_multiples_of_its_stride(
    size: int, roi_size: int, margin: int, exact: bool
) -> None:
    x = image(1, 1, size, size)
    whole = Pooling()(padded(x, (margin, margin), "reflect"))[..., margin:-margin, margin:-margin]
    tiled = OverlapTileInferer(roi_size, margin)(x, Pooling())
    assert torch.equal(tiled, whole) == exact


def test_monai_returns_a_shrunken_image_where_this_does_not() -> None:
    x, network = image(1, 2, 32, 32), Convolutions(2, padding=0)
    assert SlidingWindowInferer(16, overlap=0)(x, network).shape[2:] == (24, 24)
    assert OverlapTileInferer(16, 2)(x, network).shape[2:] == (32, 32)


@pytest.mark.parametrize("sw_batch_size", [1, 3, 100])
def test_batches_of_windows(sw_batch_size: int) -> None:
    x, sizes = image(2, 1, 10, 7), []

    def network(windows: torch.Tensor) -> torch.Tensor:
        sizes.append(len(windows))
        return windows

    assert torch.equal(OverlapTileInferer(6, 1, sw_batch_size=sw_batch_size)(x, network), x)
    assert sum(sizes) == 2 * 3 * 2
    assert max(sizes) == min(sw_batch_size, 12)


def test_output_follows_the_network() -> None:
    x = image(1, 2, 9, 9)
    y = OverlapTileInferer(8, 1)(x, lambda window, factor, shift: (factor * window[:, :1] + shift).double(), 3, shift=1)
    assert y.dtype == torch.float64
    torch.testing.assert_close(y, (3 * x[:, :1] + 1).double(), rtol=0, atol=1e-6)


def test_metadata_is_kept() -> None:
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    x = MetaTensor(image(1, 1, 6, 7, 8), affine=affine)
    y = OverlapTileInferer(6, 1)(x, lambda window: window.to(torch.bfloat16))
    assert isinstance(y, MetaTensor)
    assert torch.equal(y.affine, affine)
    assert y.dtype == torch.bfloat16


def test_gradients_flow() -> None:
    x = image(1, 1, 9, 9).requires_grad_()
    OverlapTileInferer(6, 1)(x, lambda window: 2 * window).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"roi_size": 8, "margin": 4}, "margin 4 must .* roi_size 8"),
        ({"roi_size": (16, 8, 16), "margin": (2, 4, 2)}, r"margin \(2, 4, 2\) must .* roi_size \(16, 8, 16\)"),
        ({"roi_size": 8, "margin": -1}, "margin -1 must"),
        ({"roi_size": (8, 8), "margin": (1, 1, 1)}, "one for each of 3 axes"),
        ({"roi_size": 8, "margin": 1, "padding_mode": "edge"}, "one of reflect, constant, got 'edge'"),
        ({"roi_size": 8, "margin": 1, "sw_batch_size": 0}, "sw_batch_size must be at least 1, got 0"),
    ],
)
def test_invalid_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        OverlapTileInferer(**options)


def test_invalid_inputs() -> None:
    with pytest.raises(UserError, match="one for each of 3 axes"):
        OverlapTileInferer((8, 8), 1)(image(1, 1, 9, 9, 9), identity)
    with pytest.raises(UserError, match=r"made \[4, 4\] of a window of roi_size \[8, 8\], .* must be \[6, 6\]"):
        OverlapTileInferer(8, 1)(image(1, 2, 9, 9), Convolutions(2, padding=0))
    with pytest.raises(UserError, match=r"made \[5, 5\] of a window of roi_size \[8, 8\]"):  # more on one side
        OverlapTileInferer(8, 2)(image(1, 2, 9, 9), lambda window: window[..., :5, :5])
    with pytest.raises(UserError, match=r"made \[10, 10\] of a window of roi_size \[8, 8\]"):
        OverlapTileInferer(8, 2)(image(1, 2, 9, 9), lambda window: nn.functional.pad(window, [1, 1, 1, 1]))


def test_margin_that_is_partly_lacking_and_partly_context() -> None:
    x, network = image(1, 2, 17, 14), Convolutions(2, padding=0)
    whole = network(padded(x, (2, 2), "reflect"))
    torch.testing.assert_close(OverlapTileInferer(14, (3, 4))(x, network), whole, rtol=0, atol=1e-6)
