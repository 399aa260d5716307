from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets import SegResNet
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from pu_unet_monai.networks.nets import PUUNet
from pu_unet_monai.runtime.dry_run import LiveBytes, dry_run
from pu_unet_monai.runtime.malloc import frugal_malloc
from pu_unet_monai.runtime.memory import peak_resident_bytes, resident_bytes

MIB = 1024 * 1024
VOLUME: dict[str, Any] = {"spatial_dims": 3, "in_channels": 4, "out_channels": 3}
BRATS = VOLUME | {"channels": (16, 32, 64, 128, 256)}
SMALL = VOLUME | {"channels": (8, 16, 16)}


def network(**options: Any) -> PUUNet:
    with torch.random.fork_rng():
        return PUUNet(**(SMALL | options))


@contextmanager
def autocast_of_cuda(dtype: torch.dtype) -> Iterator[None]:
    """The real rules, which ``torch.autocast`` switches off where there is no GPU."""
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", dtype)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.set_autocast_dtype("cuda", torch.float16)


class TestLiveBytes:
    def test_counts_storages_until_they_are_freed(self) -> None:
        before = torch.ones(1000)
        with LiveBytes() as live:
            x = torch.zeros(1000)
            assert live.now == 4000
            view = x.view(10, 100)[2:]
            in_place = before.add_(1).view(-1)
            assert live.now == 4000
            y = (view + 1) * 2  # the sum is freed when the product exists
            assert (live.now, live.peak) == (4000 + 3200, 4000 + 2 * 3200)
            del x
            assert live.now == 4000 + 3200
            del view, y
            assert (live.now, live.peak) == (0, 4000 + 2 * 3200)
        assert in_place.sum() == 2000

    def test_counts_what_is_kept_for_the_backward_pass(self) -> None:
        weight = torch.ones(250, requires_grad=True)
        with LiveBytes() as live:
            y = weight.exp().sum()  # keeps the exponential
            assert live.now == 1000 + 4
            y.backward()
            del y
            assert live.now == weight.grad.nbytes

    @pytest.mark.parametrize(
        ("layer", "size", "workspace"),
        [
            # on a CPU, copies in oneDNN's layout: as large as the input, or twice the output
            (nn.Conv3d(4, 16, 3, padding=1), (80, 80, 8), 2 * 16 * 80 * 80 * 8 * 4),
            (nn.Conv3d(64, 8, 3, padding=1), (24, 24, 8), 64 * 24 * 24 * 8 * 4),
            (nn.ConvTranspose3d(32, 16, 2, stride=2), (32, 32, 32), 2 * 16 * 64**3 * 4),
            # small: unfolded, 27 times the input
            (nn.Conv3d(4, 4, 3, padding=1), (16, 16, 16), 27 * 4 * 16**3 * 4),
        ],
        ids=["more channels", "fewer channels", "transposed", "small"],
    )
    def test_workspace_of_a_convolution(self, layer: nn.Module, size: tuple[int, ...], workspace: int) -> None:
        input_size = (1, layer.in_channels, *size)
        run = dry_run(layer, input_size)
        output = math.prod(run.output_size) * 4
        assert run.peak_bytes == math.prod(input_size) * 4 + output
        assert dry_run(layer, input_size, workspace=True).peak_bytes == run.peak_bytes + workspace


class TestDryRun:
    @pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
    @pytest.mark.parametrize("use_checkpoint", [False, True], ids=["plain", "checkpoint"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    def test_agrees_with_a_real_run(self, dtype: torch.dtype, use_checkpoint: bool, backward: bool) -> None:
        real, size = network(use_checkpoint=use_checkpoint), (1, 4, 17, 16, 20)
        counted = dry_run(real, size, "cpu", dtype, backward)
        with (
            torch.set_grad_enabled(backward),
            LiveBytes() as live,
            torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16),
        ):
            image = torch.randn(size)
            output = real(image)
            if backward:
                output.float().sum().backward()
        assert counted.output_size == output.shape
        assert counted.output_dtype == output.dtype == dtype
        if dtype == torch.float32:
            assert counted.peak_bytes == live.peak
        else:  # real kernels may return other types than fake ones
            assert counted.peak_bytes == pytest.approx(live.peak, rel=0.06)

    @pytest.mark.parametrize("make", [network, lambda: SegResNet(3, 8, 4, 3)], ids=["PUUNet", "SegResNet"])
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
    def test_rules_of_autocast_on_cuda(self, make: Any, dtype: torch.dtype) -> None:
        size = (1, 4, 16, 16, 16)
        with torch.device("meta"):  # without gradients, as autocast makes those of weights even where they are off
            fake = make().requires_grad_(False)
        counted = dry_run(fake, size, "cuda", dtype)
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), LiveBytes() as live, autocast_of_cuda(dtype):
            fake.to_empty(device="cuda")
            image = torch.empty(size, device="cuda")
            before = live.now - image.nbytes
            output = fake(image)
        assert counted == (live.peak - before, tuple(output.shape), output.dtype)

    def test_checkpoint_a_block_halves_training(self) -> None:
        with torch.device("meta"):
            plain, recomputed = (PUUNet(**BRATS, use_checkpoint=use) for use in (False, True))
        size = (1, 4, 128, 128, 128)
        assert (
            dry_run(recomputed, size, backward=True).peak_bytes <= 0.55 * dry_run(plain, size, backward=True).peak_bytes
        )

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
    def test_checkpoint_saves_in_mixed_precision_too(self, dtype: torch.dtype) -> None:
        with torch.device("meta"):
            plain, recomputed = (PUUNet(**BRATS, use_checkpoint=use) for use in (False, True))
        size = (2, 4, 80, 96, 96)
        saved = [dry_run(net, size, "cuda", dtype, backward=True).peak_bytes for net in (plain, recomputed)]
        assert saved[1] < 0.65 * saved[0]

    def test_leaves_the_network_alone(self) -> None:
        real = network().eval()
        before, x = copy.deepcopy(real.state_dict()), torch.randn(1, 4, 8, 8, 8)
        expected = real(x)
        dry_run(real, (2, 4, 8, 8, 8), dtype=torch.bfloat16, backward=True)
        assert all(torch.equal(real.state_dict()[name], tensor) for name, tensor in before.items())
        assert all(parameter.grad is None for parameter in real.parameters())
        assert torch.equal(real(x), expected)
        assert not torch.is_autocast_enabled("cpu")
        assert torch.is_grad_enabled()

    def test_is_the_same_wherever_it_is_called(self) -> None:
        real, size = network(), (1, 4, 12, 12, 12)
        for backward in (False, True):
            expected = dry_run(real, size, backward=backward).peak_bytes
            with torch.inference_mode():
                assert dry_run(real, size, backward=backward).peak_bytes == expected
            with torch.autocast("cpu", torch.bfloat16):
                assert dry_run(real, size, backward=backward).peak_bytes == expected

    def test_takes_no_memory(self) -> None:
        before = resident_bytes()
        assert dry_run(network(), (1, 4, 1024, 1024, 1024), backward=True).peak_bytes > 200e9
        assert resident_bytes() < before + 100e6


def peak_growth(run: Any) -> int:
    """How much the resident memory grows at most during ``run``; Linux tells since the last reset."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this system does not reset the peak of the resident memory")
    before = resident_bytes()
    run()
    return peak_resident_bytes() - before


def test_workspace_covers_the_real_growth() -> None:
    real = PUUNet(**BRATS).eval()
    x = torch.randn(1, 4, 64, 64, 64)
    with torch.no_grad(), frugal_malloc():
        real(x[..., :16])  # loads code
        growth = peak_growth(lambda: real(x))
    needed = dry_run(real, x.shape, workspace=True).peak_bytes - x.nbytes
    assert needed / 1.5 < growth < needed + 20 * MIB
