from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer, SlidingWindowInferer
from torch import nn

from pu_unet_monai.errors import UserError
from pu_unet_monai.inferers import CPUBFloat16Inferer, ForegroundInferer, OverlapTileInferer, bfloat16
from pu_unet_monai.networks.nets import PUUNet
from pu_unet_monai.runtime.dry_run import dry_run
from pu_unet_monai.runtime.malloc import keep_freed_memory
from pu_unet_monai.runtime.memory import resident_bytes

MB = 10**6
FIRST_PASS = 67 * MB
"""What is set aside on a CPU for a first pass."""


class Network(nn.Module):
    """A wide layer that takes memory, and the sizes that the network has seen."""

    def __init__(self, out_channels: int = 2, width: int = 8) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Conv3d(2, width, 1), nn.Conv3d(width, out_channels, 1))
        self.requires_grad_(False)
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
        self.sizes.append(tuple(x.shape[2:]))
        return factor * self.layers(x)


def image(size: tuple[int, ...], start: tuple[int, ...], end: tuple[int, ...], channels: int = 2) -> torch.Tensor:
    """An image (1, C, *size) that is not 0 in the box from ``start`` to ``end``, though in places it may be."""
    x = torch.zeros(1, channels, *size)
    inside = (slice(None), slice(None), *map(slice, start, end))
    x[inside] = torch.randn(x[inside].shape, generator=torch.Generator().manual_seed(0))
    x[:, :, start[0], start[1], start[2]] = 0  # a hole in the corner, but the faces of the box touch it elsewhere
    return x


SIZE, START, END = (14, 12, 10), (2, 3, 1), (11, 9, 8)
BOX = (slice(None), slice(None), *map(slice, START, END))
TILES = OverlapTileInferer(6, 1)


def with_hole(box: torch.Tensor, background: float = -10.0) -> torch.Tensor:
    """Return a network's output for the box of ``image`` with background in the hole."""
    box = box.clone()
    box[:, :, 0, 0, 0] = background
    return box


def test_one_pass_over_the_box() -> None:
    network, x = Network(), image(SIZE, START, END)
    inferer = ForegroundInferer(TILES)
    y = inferer(x, network)
    assert network.sizes == [(9, 6, 7)]
    torch.testing.assert_close(y[BOX], with_hole(network(x)[BOX]), rtol=0, atol=1e-6)
    outside = torch.ones_like(y, dtype=torch.bool)
    outside[BOX] = False
    assert (y[outside] == -10).all()
    assert y.shape == (1, 2, *SIZE)
    assert inferer.last is not None
    assert inferer.last["box"] == [list(START), list(END)]
    assert inferer.last["window"] == "foreground"
    assert FIRST_PASS < inferer.last["estimated_bytes"] < FIRST_PASS + MB


@pytest.mark.parametrize("channel", [0, 1])
def test_any_channel_makes_the_box(channel: int) -> None:
    x = torch.zeros(1, 2, *SIZE)
    x[0, channel, 3, 4, 5] = -1
    x[0, 1 - channel, 6, 2, 9] = 1e-6
    inferer = ForegroundInferer(TILES)
    inferer(x, Network())
    assert inferer.last is not None
    assert inferer.last["box"] == [[3, 2, 5], [7, 5, 10]]


@pytest.mark.parametrize("tiles", [TILES, SlidingWindowInferer(4, overlap=0.5)], ids=["overlap tiles", "MONAI"])
def test_tiles_where_one_pass_is_not_wanted(tiles: Any) -> None:
    network, x = Network(), image(SIZE, START, END)
    inferer = ForegroundInferer(tiles, one_pass=False)
    y = inferer(x, network)
    roi_size = (tiles.roi_size,) * 3
    assert set(network.sizes) == {roi_size}
    assert len(network.sizes) == (3 * 2 * 2 if tiles is TILES else 4 * 2 * 3)  # in the box of 9 x 6 x 7
    torch.testing.assert_close(y[BOX], with_hole(network(x)[BOX]), rtol=0, atol=1e-6)
    assert inferer.last is not None
    assert inferer.last["window"] == list(roi_size)


def test_budget_decides() -> None:
    """One pass over 40^3 voxels needs 8 MB (2 + 64 channels) and workspace; a tile of 16^3 1 MB."""
    x, network = torch.ones(1, 2, 40, 40, 40), Network(width=64)
    held = resident_bytes()
    for spare, window in ((25 * MB, [16, 16, 16]), (100 * MB, "foreground")):
        network.sizes.clear()
        inferer = ForegroundInferer(SlidingWindowInferer(16, overlap=0), held + FIRST_PASS + spare)
        inferer(x, network)
        assert inferer.last is not None
        assert inferer.last["window"] == window
        assert inferer.last["estimated_bytes"] < FIRST_PASS + spare
        assert set(network.sizes) == {(40, 40, 40) if window == "foreground" else (16, 16, 16)}


def test_budget_as_text() -> None:
    inferer = ForegroundInferer(TILES, memory_budget="1TB")
    inferer(image(SIZE, START, END), Network())
    assert inferer.last is not None
    assert inferer.last["window"] == "foreground"
    with pytest.raises(UserError, match="memory_budget must be"):
        ForegroundInferer(TILES, memory_budget="plenty")


@pytest.mark.parametrize("one_pass", [True, False])
def test_budget_that_not_even_a_tile_fits(one_pass: bool) -> None:
    network = Network()
    inferer = ForegroundInferer(TILES, resident_bytes() + MB, one_pass=one_pass)
    message = (
        r"^memory_budget .*B is too small: .*B are held already and tiles of 6x6x6 need 6\d MB; "
        r"choose a smaller roi_size, or a memory_budget of at least .*B\.$"
    )
    with pytest.raises(UserError, match=message):
        inferer(image(SIZE, START, END), network)
    assert network.sizes == []


def test_low_precision_needs_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfloat16, "cpu_is_fast_in_bfloat16", lambda: True)
    x, network = torch.ones(1, 2, 64, 64, 64), Network(width=16)
    needed = []
    for enabled in (False, True):
        inferer = ForegroundInferer(TILES)
        y = CPUBFloat16Inferer(inferer, enabled)(x, network)
        assert y.dtype == torch.float32
        assert inferer.last is not None
        needed.append(inferer.last["estimated_bytes"] - FIRST_PASS)
    assert needed[1] < 0.75 * needed[0]


def test_each_image_has_its_own_box() -> None:
    network = Network()
    x = torch.cat([image(SIZE, START, END), torch.zeros(1, 2, *SIZE), image(SIZE, (0, 0, 0), (4, 5, 6))])
    inferer = ForegroundInferer(TILES)
    y = inferer(x, network)
    assert network.sizes == [(9, 6, 7), (4, 5, 6)]
    for item in range(3):
        assert torch.equal(y[item : item + 1], ForegroundInferer(TILES)(x[item : item + 1], network))
    assert (y[1] == -10).all()
    assert inferer.last is not None
    assert inferer.last["box"] == [[0, 0, 0], [4, 5, 6]]


def test_nothing_but_background() -> None:
    network, x = Network(out_channels=3), torch.zeros(2, 2, *SIZE)
    inferer = ForegroundInferer(TILES, background=[-1.0, -2.0, -3.0])
    y = inferer(x, network)
    assert network.sizes == []
    assert inferer.last is None
    assert torch.equal(y, torch.tensor([-1.0, -2.0, -3.0]).view(1, 3, 1, 1, 1).expand(2, 3, *SIZE))
    with torch.autocast("cpu", torch.bfloat16):
        assert inferer(x, network).dtype == torch.bfloat16
    assert (ForegroundInferer(TILES)(x, lambda window: window[:, :1]) == -10).all()


def test_background_per_channel() -> None:
    x = image(SIZE, START, END)
    y = ForegroundInferer(TILES, background=(-1.0, -2.0))(x, Network())
    assert y[0, :, 0, 0, 0].tolist() == [-1.0, -2.0]
    with pytest.raises(UserError, match="one for each of 3 channels, got"):
        ForegroundInferer(TILES, background=(-1.0, -2.0))(x, Network(out_channels=3))


class Undecided(Network):
    """What it does depends on values, which fake tensors do not have."""

    def forward(self, x: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
        return super().forward(x, factor if x.sum() < 1e9 else 0.0)


class Even(Network):
    """Takes even sizes alone, as networks that pool and do not pad."""

    def forward(self, x: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
        if any(length % 2 for length in x.shape[2:]):
            raise ValueError("odd")
        return super().forward(x, factor)


class Valid(Network):
    """Returns less than it gets."""

    def forward(self, x: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
        return super().forward(x, factor)[:, :, 1:-1, 1:-1, 1:-1]


@pytest.mark.parametrize("kind", [Undecided, Even, Valid])
def test_networks_that_need_tiles(kind: type[Network]) -> None:
    network, x = kind(), image(SIZE, START, END)
    inferer = ForegroundInferer(TILES)
    y = inferer(x, network)
    assert set(network.sizes) == {(6, 6, 6)}
    torch.testing.assert_close(y[BOX], with_hole(network.layers(x)[BOX]), rtol=0, atol=1e-6)
    assert inferer.last is not None
    assert (inferer.last["estimated_bytes"] is None) == (kind is Undecided)


def test_functions_get_tiles() -> None:
    network, x = Network(), image(SIZE, START, END)
    y = ForegroundInferer(TILES)(x, lambda window: network(window))
    assert set(network.sizes) == {(6, 6, 6)}
    torch.testing.assert_close(y[BOX], with_hole(network(x)[BOX]), rtol=0, atol=1e-6)


def test_inferer_without_tiles() -> None:
    network, x = Network(), image(SIZE, START, END)
    inferer = ForegroundInferer(SimpleInferer(), one_pass=False)
    inferer(x, network)
    assert network.sizes == [(9, 6, 7)]
    assert inferer.last is not None
    assert inferer.last["window"] == [9, 6, 7]


@pytest.mark.parametrize("one_pass", [True, False])
def test_arguments_are_passed_on(one_pass: bool) -> None:
    network, x = Network(), image(SIZE, START, END)
    inferer = ForegroundInferer(TILES, one_pass=one_pass)
    torch.testing.assert_close(inferer(x, network, 2.0)[BOX], with_hole(2 * inferer(x, network)[BOX]))
    torch.testing.assert_close(inferer(x, network, factor=2.0)[BOX], with_hole(2 * inferer(x, network)[BOX]))


def test_metadata_is_kept() -> None:
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    y = ForegroundInferer(TILES)(MetaTensor(image(SIZE, START, END), affine=affine), Network())
    assert isinstance(y, MetaTensor)
    assert torch.equal(y.affine, affine)


def test_network_that_pads_itself() -> None:
    with torch.random.fork_rng():
        network = PUUNet(spatial_dims=3, in_channels=2, out_channels=3, channels=(8, 16)).eval()
    x = image(SIZE, START, END)
    with torch.no_grad():
        y = ForegroundInferer(TILES)(x, network)
        assert torch.equal(y[BOX], with_hole(network(x[BOX])))


def test_images_of_two_dimensions() -> None:
    network = nn.Conv2d(3, 1, 3, padding=1).requires_grad_(False)
    x = torch.zeros(1, 3, 20, 17)
    x[:, :, 4:11, 5:6] = 1
    inferer = ForegroundInferer(OverlapTileInferer(8, 1))
    y = inferer(x, network)
    assert torch.equal(y[:, :, 4:11, 5:6], network(x[:, :, 4:11, 5:6]))
    assert inferer.last is not None
    assert inferer.last["box"] == [[4, 5], [11, 6]]


def test_what_malloc_keeps_counts_as_free() -> None:
    """A case's window does not depend on the cases before it."""
    network = PUUNet(3, 4, 1, (8, 16, 16)).eval()
    small, large = torch.ones(1, 4, 48, 48, 48), torch.ones(1, 4, 72, 72, 72)
    windows = []
    for before in ([], [small]):
        with torch.no_grad(), keep_freed_memory():
            needed = dry_run(network, large.shape, workspace=True).peak_bytes
            inferer = ForegroundInferer(SlidingWindowInferer(16), memory_budget=resident_bytes() + 4 * needed)
            for case in (*before, large):
                inferer(case, network)
        windows.append(inferer.last["window"])
    assert windows == ["foreground", "foreground"]
