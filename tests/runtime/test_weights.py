from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from pu_unet_monai.errors import UserError
from pu_unet_monai.networks.nets import PUUNet
from pu_unet_monai.runtime.weights import load_weights, read_checkpoint

CHANNELS = (8, 16, 32)


def create(seed: int, **options: Any) -> PUUNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PUUNet(**({"channels": CHANNELS} | options))


@pytest.fixture
def network() -> PUUNet:
    return create(seed=0)


class Payload:
    """What an attacker puts into a file: it creates another file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def assert_refused(network: PUUNet, path: Path, message: str) -> None:
    """The error names the file, is a ValueError, and the network is as it was."""
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(UserError, match=re.escape(str(path)) + ".*" + message) as error:
        load_weights(network, path)
    assert isinstance(error.value, ValueError)
    assert "\n" not in str(error.value)
    assert equal(network.state_dict(), before)


@pytest.mark.parametrize("as_text", [True, False])
def test_state_dict(network: PUUNet, tmp_path: Path, as_text: bool) -> None:
    trained = create(seed=1)
    path = tmp_path / "model.pt"
    torch.save(trained.state_dict(), path)
    assert not equal(network.state_dict(), trained.state_dict())
    load_weights(network, str(path) if as_text else path)
    assert equal(network.state_dict(), trained.state_dict())


def test_checkpoint(network: PUUNet, tmp_path: Path) -> None:
    trained = create(seed=1)
    optimizer = torch.optim.AdamW(trained.parameters())
    trained(torch.rand(1, 3, 8, 8)).mean().backward()
    optimizer.step()
    path = tmp_path / "checkpoint.pt"
    torch.save(
        {"network": trained.state_dict(), "optimizer": optimizer.state_dict(), "trainer": {"epoch": 3}, "scaler": None},
        path,
    )
    load_weights(network, path)
    assert equal(network.state_dict(), trained.state_dict())
    assert read_checkpoint(path)["trainer"] == {"epoch": 3}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_weights(network: PUUNet, tmp_path: Path, dtype: torch.dtype) -> None:
    weights = {k: v.to(dtype) for k, v in create(seed=1).state_dict().items()}
    path = tmp_path / "model.pt"
    torch.save(weights, path)
    load_weights(network, path)
    assert {v.dtype for v in network.state_dict().values()} == {torch.float32}
    assert equal(network.state_dict(), {k: v.float() for k, v in weights.items()})


@pytest.mark.parametrize("instructions", ["x", [1], {"": {"version": 1, "assign_to_params_buffers": True}}], ids=type)
def test_instructions_in_a_state_dict_are_not_followed(network: PUUNet, tmp_path: Path, instructions: Any) -> None:
    weights = OrderedDict((k, v.half()) for k, v in create(seed=1).state_dict().items())
    vars(weights)["_metadata"] = instructions
    torch.save(weights, tmp_path / "model.pt")
    load_weights(network, tmp_path / "model.pt")
    assert equal(network.state_dict(), {k: v.float() for k, v in weights.items()})


@pytest.mark.parametrize("name", ["nowhere.pt", "."])
def test_missing_file(network: PUUNet, tmp_path: Path, name: str) -> None:
    assert_refused(network, tmp_path / name, "no such weights file")


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_truncated_file(network: PUUNet, tmp_path: Path, share: float, zipped: bool) -> None:
    path = tmp_path / "model.pt"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    cut = content[: int(share * len(content))]
    path.write_bytes(cut)
    assert_refused(network, path, f"not a readable PyTorch file.*{len(cut)} bytes")


def test_code_does_not_run(network: PUUNet, tmp_path: Path) -> None:
    saved, raw, proof = tmp_path / "model.pt", tmp_path / "model.pkl", tmp_path / "proof"
    torch.save(network.state_dict() | {"extra": Payload(proof)}, saved)
    raw.write_bytes(pickle.dumps(Payload(proof)))
    for path in (saved, raw):
        assert_refused(network, path, "loading it could run code, so it was refused")
        assert not proof.exists()
    # The payload does work where a file is trusted:
    torch.load(saved, weights_only=False)
    assert proof.exists()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ([torch.zeros(2)], "list"),
        (torch.zeros(2), "Tensor"),
        ({}, "dict"),
        ({"epoch": 3}, "dict"),
        ({"network": 3}, "dict"),
        ({"network": {}}, "dict"),
        ({"network": {"stem.0.weight": "lost"}}, "dict"),
        (7, "int"),
        (None, "NoneType"),
    ],
    ids=str,
)
def test_not_a_state_dict(network: PUUNet, tmp_path: Path, content: object, kind: str) -> None:
    path = tmp_path / "model.pt"
    torch.save(content, path)
    assert_refused(network, path, f"holds a {kind}, not a state dict")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"in_channels": 1},
            r"1 tensors of another shape \(such as stem.0.weight: \[8, 1, 3, 3\] in the file, \[8, 3, 3, 3\] in the",
        ),
        (
            {"out_channels": 3},
            r"2 tensors of another shape \(such as head.bias: \[3\] in the file, \[1\] in the network\)",
        ),
        (
            {"channels": (16, 16, 32)},
            # stem 3; encoder 1: conv1 (its shortcut is the identity now); decoder 2: up 2, blocks 7 and 7 (all but
            # theta); head 1
            r"1 missing tensors \(such as encoders.0.shortcut.weight\); "
            r"21 tensors of another shape \(such as decoders.1.0.conv1.weight: "
            r"\[16, 32, 3, 3\] in the file, \[8, 16, 3, 3\]",
        ),
        # Four product units (theta, weight, bias) in place of four convolutions.
        (
            {"placement": "none"},
            r"12 missing tensors \(such as bottleneck.conv2.conv.bias\); "
            r"4 unknown tensors \(such as bottleneck.conv2.weight\)",
        ),
        (
            {"channels": (8, 16)},
            r"\d+ missing tensors.*\d+ unknown tensors.*such as bottleneck.conv1.weight: \[16, 16, 3, 3\] in",
        ),
    ],
    ids=str,
)
def test_wrong_network(network: PUUNet, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = tmp_path / "model.pt"
    torch.save(create(seed=1, **options).state_dict(), path)
    assert_refused(network, path, "does not fit the network: " + message)
