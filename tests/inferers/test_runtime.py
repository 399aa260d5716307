from __future__ import annotations

import importlib.util
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from torch import nn

from pu_unet_monai.inferers import ForegroundInferer, RuntimeInferer
from pu_unet_monai.networks import create_network
from pu_unet_monai.networks.blocks import ProductUnit
from pu_unet_monai.networks.nets import PUUNet
from pu_unet_monai.runtime import accelerate

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
OPENVINO = pytest.param("openvino", marks=needs_openvino)


def pu_unet(dims: int = 2, saturated: bool = False) -> PUUNet:
    """A small PU-UNet; saturated, a good part of what its product units give is clipped."""
    torch.manual_seed(0)
    network = PUUNet(dims, 2, 1, (8, 16, 16), placement="all", norm=("GROUP", {"num_groups": 4})).eval()
    if saturated:
        with torch.no_grad():
            for unit in network.modules():
                if isinstance(unit, ProductUnit):
                    unit.conv.bias.copy_(torch.tensor([12.0, 0.0, -12.0, 0.0]).repeat(len(unit.conv.bias) // 4))
    return network


def image(dims: int = 2, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 2, *(50, 41, 33)[:dims], generator=torch.Generator().manual_seed(1))


def clipped_share(network: nn.Module, x: torch.Tensor) -> float:
    """The share of the product units' outputs that is at a bound."""
    found: list[torch.Tensor] = []
    hooks = [
        unit.register_forward_hook(lambda *args: found.append(args[-1].log().abs().flatten() > 9.999))
        for unit in network.modules()
        if isinstance(unit, ProductUnit)
    ]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return torch.cat(found).float().mean().item()


@pytest.mark.parametrize("saturated", [False, True], ids=["", "saturated"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("runtime", "dims"),
    [
        ("eager", 2),
        ("eager", 3),
        pytest.param("openvino", 2, marks=needs_openvino),
        pytest.param("openvino", 3, marks=needs_openvino),
        ("compile", 2),
    ],
)
def test_runtimes_agree_with_float32_eager(runtime: str, dims: int, precision: str, saturated: bool) -> None:
    network = pu_unet(dims, saturated)
    x = image(dims)
    assert (clipped_share(network, x) > 0.1) == saturated
    with torch.no_grad():
        expected = network(x)
    inferer = RuntimeInferer(runtime=runtime, precision=precision)
    for _ in range(2):  # the second time without a comparison
        y = inferer(x, network)
        assert y.dtype == torch.float32
        assert not y.requires_grad
        largest = expected.abs().max().item()
        torch.testing.assert_close(y, expected, rtol=0, atol=accelerate.TOLERANCES[precision] * largest)
    assert inferer.last is not None
    assert (inferer.last["runtime"], inferer.last["precision"]) == (runtime, precision)
    assert 0 <= inferer.last["difference"] <= accelerate.TOLERANCES[precision]
    assert (inferer.last["difference"] > 1e-4) == (precision == "bfloat16")


@needs_openvino
@pytest.mark.parametrize(
    ("name", "options", "sizes"),
    [
        ("unet", {"channels": (8, 16, 32, 64), "pad_to_multiple": True}, ((64, 64), (50, 41))),
        ("attention_unet", {"channels": (8, 16, 32), "pad_to_multiple": True}, ((64, 64), (50, 41))),
        ("r2_unet", {"channels": (16, 32, 64), "attention": True}, ((64, 64), (50, 41))),
        ("original_unet", {"channels": (8, 16, 32)}, ((92, 124), (108, 92))),
        ("unet", {"channels": (8, 16, 32)}, ((64, 96), (32, 64))),
    ],
)
def test_networks_of_the_family_in_openvino(
    name: str, options: dict[str, Any], sizes: tuple[tuple[int, int], ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Those that take any size, and those that take sizes of their own only."""
    torch.manual_seed(0)
    network = create_network(name, spatial_dims=2, in_channels=2, out_channels=1, **options).eval()
    inferer = RuntimeInferer(runtime="openvino", precision="float32")
    for size in sizes:
        x = torch.randn(2, 2, *size)
        with torch.no_grad():
            expected = network(x)
        torch.testing.assert_close(inferer(x, network), expected, rtol=1e-3, atol=1e-3)
    assert not caplog.records
    assert inferer.last is not None
    assert inferer.last["runtime"] == "openvino"


def test_a_network_of_one_size() -> None:
    class OneSize(Sloppy):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[2:] != (200, 150):
                raise ValueError("200x150 only")
            return super().forward(x)

    network, x = OneSize().eval(), torch.randn(1, 2, 200, 150)
    inferer = RuntimeInferer(runtime="eager", precision="bfloat16")
    with torch.no_grad():
        torch.testing.assert_close(inferer(x, network), network(x), rtol=0.05, atol=0.05)
    assert inferer.last is not None
    assert inferer.last["precision"] == "bfloat16"


def test_a_network_that_takes_no_part(caplog: pytest.LogCaptureFixture) -> None:
    class Never(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("never")

    with pytest.raises(ValueError, match="never"):
        RuntimeInferer(runtime="eager", precision="bfloat16")(image(), Never().eval())
    assert "no runtime can be compared" in caplog.text


class Sloppy(nn.Module):
    """A network whose low precision is far off, and whose trace depends on the size of the example."""

    def __init__(self, off: float = 0.0, traced_off: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1)
        self.off, self.traced_off = off, traced_off

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        if y.dtype == torch.bfloat16:
            y = y + self.off
        return y * float(x.shape[-1]) if self.traced_off else y


def test_a_precision_that_disagrees_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    x, network = image(), Sloppy(off=1.0).eval()
    inferer = RuntimeInferer(runtime="eager", precision="bfloat16")
    with torch.no_grad():
        torch.testing.assert_close(inferer(x, network), network(x))
    assert inferer.last == {"runtime": "eager", "precision": "float32", "difference": 0.0}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "eager in bfloat16 is not used: its logits differ" in record.message
    inferer(x, network)
    assert len(caplog.records) == 1  # it is compared once


@needs_openvino
def test_a_trace_of_one_size_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    x, network = image(), Sloppy(traced_off=True).eval()
    inferer = RuntimeInferer(runtime="openvino", precision="float32")
    with torch.no_grad():
        torch.testing.assert_close(inferer(x, network), network(x))
    assert inferer.last is not None
    assert inferer.last["runtime"] == "eager"
    assert "openvino in float32 is not used" in caplog.text


@pytest.mark.parametrize("runtime", [OPENVINO, "compile"])
def test_a_runtime_that_fails_is_dropped(
    runtime: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("no such instruction\nand a long tale")

    monkeypatch.setitem(accelerate._START, runtime, fail)
    x, network = image(), Sloppy().eval()
    inferer = RuntimeInferer(runtime=runtime, precision="float32")
    with torch.no_grad():
        torch.testing.assert_close(inferer(x, network), network(x))
    assert inferer.last is not None
    assert inferer.last["runtime"] == "eager"
    assert [r.message for r in caplog.records] == [
        f"runtime {runtime} in float32 cannot be used: RuntimeError: no such instruction",
    ]


@pytest.mark.parametrize("runtime", [OPENVINO, "eager"])
def test_new_weights_are_seen(runtime: str) -> None:
    x, network = image(), pu_unet()
    inferer = RuntimeInferer(runtime=runtime, precision="float32")
    first = inferer(x, network)
    network.load_state_dict({name: 1.1 * value for name, value in network.state_dict().items()})
    with torch.no_grad():
        expected = network(x)
    assert not torch.allclose(first, expected, rtol=1e-2)
    torch.testing.assert_close(inferer(x, network), expected, rtol=1e-3, atol=1e-3)
    other = pu_unet(saturated=True)
    with torch.no_grad():
        torch.testing.assert_close(inferer(x, other), other(x), rtol=1e-2, atol=1e-2)


def test_automatic_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: dict[str, bool] = {}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: installed.get(name))
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert accelerate.best_runtime(cpu, 3, "float32") == "eager"
    installed["openvino"] = True
    assert accelerate.best_runtime(cpu, 3, "float32") == "openvino"
    assert accelerate.best_runtime(cpu, 3, "bfloat16") == "eager"
    assert accelerate.best_runtime(cpu, 2, "float32") == "eager"
    assert accelerate.best_runtime(gpu, 3, "float32") == "eager"
    for fast, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(accelerate, "cpu_is_fast_in_bfloat16", lambda fast=fast: fast)
        assert accelerate.best_precision(cpu) == precision


def test_memory_budget() -> None:
    windows = SlidingWindowInferer(16)
    inferer = RuntimeInferer(ForegroundInferer(windows, memory_budget="8GB"), precision="float32")
    x, network = image(3), pu_unet(3)
    with torch.no_grad():
        torch.testing.assert_close(inferer(x, network), network(x), rtol=1e-3, atol=1e-3)
    assert inferer.last == {"runtime": "eager", "precision": "float32", "difference": inferer.last["difference"]}
    with pytest.raises(ValueError, match="openvino: what memory it takes is not counted"):
        RuntimeInferer(ForegroundInferer(windows, memory_budget="8GB"), runtime="openvino")


@needs_openvino
def test_around_other_inferers() -> None:
    x, network = image(3), pu_unet(3)
    x[..., :4] = 0
    foreground = ForegroundInferer(SlidingWindowInferer(16))
    inferer = RuntimeInferer(foreground, runtime="openvino", precision="float32")
    y = inferer(MetaTensor(x), network)
    assert isinstance(y, MetaTensor)
    assert foreground.last is not None
    assert foreground.last["window"] == "foreground"
    with torch.no_grad():
        expected = network(x[..., 4:])
    torch.testing.assert_close(y.as_tensor()[..., 4:], expected, rtol=1e-3, atol=1e-3)
    assert (y[..., :4] == -10).all()
    # what the runtime takes beyond PyTorch's tensors counts
    openvino = foreground.last["estimated_bytes"]
    eager = ForegroundInferer(SlidingWindowInferer(16))
    with torch.no_grad():
        eager(x, network)
    assert eager.last is not None
    assert openvino > 1.5 * (eager.last["estimated_bytes"] - 64 * 2**20)
    tiles = RuntimeInferer(SlidingWindowInferer(32, overlap=0.25), runtime="openvino", precision="float32")
    with torch.no_grad():
        expected = SlidingWindowInferer(32, overlap=0.25)(x, network)
    torch.testing.assert_close(tiles(x, network), expected, rtol=1e-3, atol=1e-3)


def test_what_cannot_be_accelerated_runs_as_it_is() -> None:
    x, network = image(), pu_unet()
    inferer = RuntimeInferer(runtime="eager", precision="float32")
    assert torch.equal(inferer(x, torch.sin), torch.sin(x))
    assert inferer.last is None

    class Factor(nn.Module):
        def forward(self, x: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
            return factor * x

    assert torch.equal(inferer(x, Factor().eval(), factor=2.0), 2 * x)
    y = inferer(x, network.train())
    assert y.requires_grad  # in training it is the network itself


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "fast"}, "runtime must be one of auto, eager, compile, openvino, got 'fast'"),
        ({"precision": "float16"}, "precision must be one of auto, float32, bfloat16, got 'float16'"),
    ],
)
def test_wrong_options(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RuntimeInferer(**options)


def test_openvino_has_to_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install openvino"):
        RuntimeInferer(runtime="openvino")


@needs_openvino
def test_threads_get_their_own_results() -> None:
    network, inferer = pu_unet(), RuntimeInferer(runtime="openvino", precision="float32")
    images = [torch.randn(1, 2, 40, 40, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    with torch.no_grad():
        expected = [network(x) for x in images]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            for found, right in zip(pool.map(lambda x: inferer(x, network), images), expected, strict=True):
                torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("runtime", [OPENVINO, "eager"])
def test_weights_changed_behind_autograd(runtime: str) -> None:
    x, network = image(), pu_unet()
    inferer = RuntimeInferer(runtime=runtime, precision="float32")
    first = inferer(x, network)
    for parameter in network.parameters():
        parameter.data.mul_(1.5)
    with torch.no_grad():
        expected = network(x)
    assert not torch.allclose(first, expected, rtol=1e-2)
    torch.testing.assert_close(inferer(x, network), expected, rtol=1e-3, atol=1e-3)


def test_a_list_of_outputs() -> None:
    class Heads(Sloppy):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:  # type: ignore[override]
            return [super().forward(x), super().forward(x)]

    x, network = image(), Heads().eval()
    with torch.no_grad():
        expected = network(x)
    found = RuntimeInferer(runtime="eager", precision="float32")(x, network)
    assert len(found) == 2
    torch.testing.assert_close(list(found), expected)


def test_weights_made_for_inference_alone() -> None:
    with torch.inference_mode():
        network = pu_unet()
    x = image()
    with torch.no_grad():
        torch.testing.assert_close(RuntimeInferer(precision="float32")(x, network), network(x))


def test_a_runtime_that_fails_at_a_size_of_its_own(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(network: nn.Module, precision: str, example: torch.Tensor) -> Any:
        def run(x: torch.Tensor) -> torch.Tensor:
            if x.shape[-1] > 128:
                raise RuntimeError("too large")
            return network(x)

        return run

    monkeypatch.setitem(accelerate._START, "compile", start)
    network, x = pu_unet(), torch.randn(1, 2, 40, 150)
    inferer = RuntimeInferer(runtime="compile", precision="float32")
    with torch.no_grad():
        torch.testing.assert_close(inferer(x, network), network(x))
    assert "runtime compile fails at [1, 2, 40, 150], eager goes on: RuntimeError: too large" in caplog.text
    assert inferer.last is not None
    assert inferer.last["runtime"] == "eager"
